"""A piece of work, and what becomes of it."""

from dataclasses import dataclass
from datetime import datetime

from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import Report, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A claimed piece of work: the kind, whose row it is about, how often it was tried (this time included).

    ``lease`` is the claim; a finish with another one is refused, so a worker that was too slow undoes nothing.
    """

    kind: TaskKind
    subject: str
    attempt: int
    lease: str
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVideo:
    """What is known of a video that is whole and in storage."""

    name: str
    bytes: int
    sha256: str
    content_type: str
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    poster: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task that is finished: ``video`` of a download, ``answer`` to a delivery, ``report`` of a question.

    A relayed submit ends with its ``submission``, and with report and video as far as the answer held them.
    """

    video: StoredVideo | None = None
    answer: Answer | None = None
    report: Report | None = None
    submission: Submission | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A task to be tried again at ``due_at``. ``counts``: whether this try was one, or was kept from being one."""

    due_at: datetime
    problem: str
    counts: bool = True
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A task that is given up: a dead letter, to be put back by hand."""

    problem: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """A relayed submit that the provider has certainly refused, for now: it is sent again at ``due_at``.

    Only this lets a submit that was begun be sent another time.
    """

    due_at: datetime
    problem: str


Outcome = Done | Retry | Dead | NotNow
