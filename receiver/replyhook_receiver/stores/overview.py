"""The Overview protocol: how things went lately, for people: bounded reads, however much is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

NEWEST_JOBS = 10_000
"""So many jobs are looked at, the newest."""
NEWEST_CALLBACKS = 20_000
MINUTES = 30
"""So far back callbacks are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWait:
    """How long a provider's jobs waited, from submit to callback, in seconds."""

    provider: str
    jobs: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """How things stand. ``jobs`` is how many were looked at; ``is_all`` whether these are all there are.

    ``callbacks`` are those of each of the last ``MINUTES`` minutes, the oldest first; None where there were more than
    are counted.
    """

    jobs: int
    is_all: bool
    by_status: Mapping[str, int]
    overdue: int
    videos_lost: int
    waits: Sequence[CallbackWait]
    callbacks: Sequence[int | None]


class Overview(Protocol):
    """Reads alone. Raises ``StoreUnavailable``."""

    async def lately(self, *, user: str | None, now: datetime) -> Lately:
        """How things stand; with a ``user``, the user's alone."""
        ...
