"""Counts since the start: callbacks that were refused, and questions that providers were asked."""

from collections import Counter
from enum import StrEnum

from replyhook.errors import KeysUnavailable, VerificationError
from replyhook_receiver.errors import DetachedLimit


def reason_of(error: Exception) -> str | None:
    """Why a callback is refused, in the fixed words that it is counted by; None for what is not counted."""
    match error:
        case VerificationError() | DetachedLimit():
            return str(error)
        case KeysUnavailable():
            return "the provider's public keys could not be fetched"
    return None


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


class Cause(StrEnum):
    """Why a provider is asked about a job (P8)."""

    OVERDUE = "overdue"
    NO_RESULT = "no_result"
    FOREIGN_HOST = "foreign_host"
    DEAD_LINK = "dead_link"


class Questions:
    """How often providers were asked, by cause; how many silent jobs that recovered, and how many were lost."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, Cause]] = Counter()
        self._recovered: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def ask(self, provider: str, cause: Cause) -> None:
        """One question is sent."""
        self._asked[provider, cause] += 1

    def recover(self, provider: str) -> None:
        """A job that was overdue has ended: the provider said so."""
        self._recovered[provider] += 1

    def lose(self, provider: str) -> None:
        """A job stays overdue: nobody will be asked about it again."""
        self._lost[provider] += 1

    def by_provider(self) -> dict[str, dict[str, object]]:
        """The counts so far, of the providers that there are any of."""
        names = sorted({provider for provider, _ in self._asked} | set(self._recovered) | set(self._lost))
        return {
            name: {
                "asked": {cause.value: self._asked[name, cause] for cause in Cause},
                "recovered": self._recovered[name],
                "lost": self._lost[name],
            }
            for name in names
        }
