"""Counts what each provider was asked, and what it would have charged for."""

from collections.abc import Iterable
from enum import StrEnum


class Call(StrEnum):
    """What is counted. ``BILLED`` is a job that was generated; a failed or canceled one costs nothing."""

    SUBMIT = "submit"
    STATUS = "status"  # any question about a job: its status, its result, the list of jobs
    UPLOAD = "upload"
    CANCEL = "cancel"
    BILLED = "billed"


class Ledger:
    """Counts by provider and kind. A refused call is counted as well: it was made."""

    def __init__(self, providers: Iterable[str]) -> None:
        self._counts = {provider: dict.fromkeys(Call, 0) for provider in providers}

    def count(self, provider: str, call: Call) -> None:
        """One more."""
        self._counts[provider][call] += 1

    def number(self, provider: str, call: Call) -> int:
        """How many so far."""
        return self._counts[provider][call]

    def totals(self) -> dict[str, dict[str, int]]:
        """All counts, as plain values."""
        return {
            provider: {call.value: number for call, number in counts.items()}
            for provider, counts in self._counts.items()
        }
