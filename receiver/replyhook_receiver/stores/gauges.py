"""The Gauges protocol: how much waits in the store, for whoever measures."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The tasks of one kind that are to be done: how many, and when the oldest was due (None: none is waiting)."""

    kind: str
    depth: int
    oldest_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How things stand at one moment."""

    queues: tuple[Queue, ...]
    dead_deliveries: int
    waiting_writes: int
    writes: int
    commits: int


class Gauges(Protocol):
    """Reads alone. Raises ``StoreUnavailable``."""

    async def levels(self) -> Levels:
        """How things stand now."""
        ...
