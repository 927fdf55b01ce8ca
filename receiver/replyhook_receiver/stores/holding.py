"""The Holding protocol: the work paused, while callbacks are taken as always."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Since when no task is begun, and what for."""

    since: datetime
    reason: str


class Holding(Protocol):
    """A row that whoever claims work obeys. All raise ``StoreUnavailable``."""

    async def status(self) -> Hold | None:
        """The hold that is on, or None."""
        ...

    async def begin(self, reason: str, *, now: datetime) -> Hold:
        """Begin no more tasks; what is being done is finished. One that is on already stays, with its time."""
        ...

    async def end(self) -> Hold | None:
        """Go on: the hold that was on, or None."""
        ...
