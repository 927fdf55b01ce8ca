"""The TrackRecords protocol: how each provider has done of late."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

LATEST = 5_000
"""So many jobs are looked at, the newest of all providers together: what was long ago says little of today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """One provider's latest jobs: how many there are, how they ended, and how long each waited for its callback."""

    jobs: int
    succeeded: int
    failed: int
    canceled: int
    waited_seconds: tuple[float, ...]

    @property
    def success_rate(self) -> float | None:
        """The part that succeeded of those that came to an end; those that were canceled say nothing."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None

    def waited(self, part: float) -> float | None:
        """The wait that this part (0.5, 0.95) of the jobs did not exceed; None while there is none."""
        if not self.waited_seconds:
            return None
        sooner_first = sorted(self.waited_seconds)
        return sooner_first[min(len(sooner_first) - 1, int(part * len(sooner_first)))]


class TrackRecords(Protocol):
    """Reads alone. Raises ``StoreUnavailable``."""

    async def latest(self) -> Mapping[str, TrackRecord]:
        """By provider; one without a job of late is not there."""
        ...
