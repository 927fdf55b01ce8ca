"""The Replays protocol: what a kept callback leads to, done once more, or only foreseen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from replyhook.jobs import AssetStatus, JobEvent, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import Verdict


class Step(StrEnum):
    """What of a callback can be done once more."""

    PARSE = "parse"
    STATE = "state"
    DOWNLOAD = "download"
    NOTIFY = "notify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A kept callback to be taken once more. ``event`` is what it is now believed to say, None where nothing.

    ``steps`` without ``notify`` bring nothing to any endpoint; ``keeps`` is False for a dry run.
    """

    callback_id: str
    event: JobEvent | None = field(repr=False)
    steps: frozenset[Step]
    keeps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a job stands."""

    status: JobStatus
    progress: int | None
    video: AssetStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of a replay, or would come of it.

    ``callback_id`` is that of the report that was kept of it; ``verdict`` is the report's: None for an orphan's, for
    one that says nothing, and where no state was asked for. ``download`` and ``notify`` say in words what became of
    each, where it was asked for. ``withheld`` are deliveries that were due and, without ``notify``, are not made.
    """

    callback_id: str | None
    job_id: str | None
    verdict: Verdict | None
    before: Standing | None
    after: Standing | None
    tasks: Sequence[str]
    announced: Sequence[NotificationType]
    deliveries: int
    withheld: int
    download: str | None
    notify: str | None


class Replays(Protocol):
    """Doing again what kept callbacks lead to. All raise ``StoreUnavailable`` when the database cannot."""

    async def replay(self, replay: Replay, *, now: datetime) -> Replayed:
        """All steps in one transaction, which a dry run takes back. Raises ``UnknownCallback``."""
        ...
