"""The Workers protocol: which processes do the work, and when each was last heard of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

BEAT = timedelta(seconds=10)
SILENT_AFTER = timedelta(seconds=40)
"""A worker that was not heard of for so long is taken for dead; its tasks are taken over after their leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """One that was heard of not long ago."""

    id: str
    host: str
    started_at: datetime
    beat_at: datetime


class Workers(Protocol):
    """Who is at work. Nothing depends on it but what is shown. All raise ``StoreUnavailable``."""

    async def beat(self, worker_id: str, *, host: str, started_at: datetime, now: datetime) -> None:
        """Say that this one is at work, and forget those that were silent for a day."""
        ...

    async def leave(self, worker_id: str) -> None:
        """Say that this one is not, any more."""
        ...

    async def beating(self, *, now: datetime) -> list[WorkerSeen]:
        """Those at work, the longest first."""
        ...
