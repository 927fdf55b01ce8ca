"""One extend job: what is to be made, how it stands, and how its provider talks about it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio import CapacityLimiter

from replyhook_receiver.sandbox.callbacks import Attempt, Delivery, Seal
from replyhook_receiver.sandbox.faults import Fault
from replyhook_receiver.sandbox.video import Clip


class State(StrEnum):
    """Where a job stands, in the sandbox's own words."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


ACTIVE = frozenset({State.QUEUED, State.RUNNING})


class Problem(StrEnum):
    """Why a job failed; every provider has its own words for it."""

    UNREACHABLE_SOURCE = "unreachable_source"
    UNUSABLE_SOURCE = "unusable_source"
    GENERATION = "generation"
    MODERATED = "moderated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be generated. ``obtain`` gives the source, at the scratch path it is handed or elsewhere."""

    seconds: int
    height: int
    audio: bool
    obtain: Callable[[Path], Awaitable[Path]]


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One extend job. ``fields`` is the accepted request in the provider's own words.

    A stuck job never ends. A job with a ``slot`` waits in the queue until it is free. ``looks`` counts how often its
    end was asked for.
    """

    provider: str
    id: str
    fault: Fault
    order: Order
    fields: Mapping[str, Any]
    reply_url: str | None
    result: str  # the name that the resulting file will have
    is_stuck: bool = False
    extra_seconds: float = 0.0
    slot: CapacityLimiter | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    state: State = State.QUEUED
    progress: int = 0
    clip: Clip | None = None
    problem: Problem | None = None
    problem_text: str = ""
    looks: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    finished: anyio.Event = field(default_factory=anyio.Event)
    called_back: anyio.Event = field(default_factory=anyio.Event)
    generation: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Voice(Protocol):
    """How a provider talks back about a job: the genuine callback for where it stands now, and false ones.

    A ``callback`` of ``None`` means that nobody asked to be called.
    """

    name: str
    delivery: Delivery
    tells_progress: bool

    def callback(self, job: Job) -> Seal | None: ...
    def garbage(self, job: Job) -> Seal: ...
    def forgeries(self, job: Job) -> Sequence[Seal]: ...
