"""The TrackRecords protocol: how each provider's jobs have ended of late."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """One provider's part of the newest jobs, which are as many as the overview looks at."""

    jobs: int
    succeeded: int
    failed: int

    @property
    def success_rate(self) -> float | None:
        """The part that succeeded of those that came to an end; those that were canceled say nothing."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None


class TrackRecords(Protocol):
    """Reads alone. Raises ``StoreUnavailable``."""

    async def latest(self) -> Mapping[str, TrackRecord]:
        """By provider; one without a job of late is not there."""
        ...
