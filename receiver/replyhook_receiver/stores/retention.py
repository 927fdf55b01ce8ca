"""The Retention protocol: what is kept for how long, and throwing the rest away a little at a time."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

ORPHANS_FOR = timedelta(days=30)
NONCES_FOR = timedelta(days=62)
"""Twice the largest tolerance a provider can be given: a signature may carry a time that is ahead as far as behind."""

COMPRESSED_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepFor:
    """How long each is kept. ``videos`` None: for ever."""

    bodies: timedelta
    notifications: timedelta
    history: timedelta
    videos: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one small step did: ``count`` rows of ``what``; in a dry run, would have."""

    what: str
    count: int


class Retention(Protocol):
    """Throws away what is old, never what unfinished work needs. All raise ``StoreUnavailable``."""

    def prune(self, keep: KeepFor, *, now: datetime, dry_run: bool = False) -> AsyncGenerator[Swept, None]:
        """One round in small steps, each a commit of bounded size: whoever iterates says how fast."""
        ...

    async def next_round(self) -> datetime | None:
        """When the next round is due, where that was noted."""
        ...

    async def plan_round(self, at: datetime) -> None:
        """Note when the next round is due."""
        ...

    async def unwanted_videos(self, *, now: datetime, limit: int = 100) -> list[str]:
        """Names of videos that are to be removed from storage by now."""
        ...

    async def next_unwanted(self) -> datetime | None:
        """When the next video is to be removed."""
        ...

    async def forget_video(self, name: str, *, now: datetime) -> None:
        """It is removed."""
        ...
