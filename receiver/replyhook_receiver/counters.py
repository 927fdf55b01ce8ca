"""Counts of what was refused and why: all that is kept of a request that did not prove itself."""

from collections import Counter


class Refusals:
    """How many callbacks were refused, by provider and reason. Both come from us, so there are few of them."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, provider: str, reason: str) -> None:
        """Count one."""
        self._counts[provider, reason] += 1

    def by_provider(self) -> dict[str, dict[str, int]]:
        """The counts so far."""
        found: dict[str, dict[str, int]] = {}
        for (provider, reason), count in sorted(self._counts.items()):
            found.setdefault(provider, {})[reason] = count
        return found
