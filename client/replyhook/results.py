"""A job as the receiver knows it: plain values, read from its answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from replyhook.errors import UnreadableMessage
from replyhook.jobs import AssetStatus, JobError, JobStatus, Trust

_PERSONAL = "(personal)"  # what the receiver shows instead of an id that holds an e-mail address


class VideoResult(msgspec.Struct, frozen=True, kw_only=True, rename={"duration_seconds": "duration"}):
    """A job's video. ``url`` is the receiver's, which lasts; ``provider_url`` the provider's, which expires."""

    status: AssetStatus
    url: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    content_type: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    stored_at: datetime | None = None
    provider_url: str | None = None
    provider_url_expires_at: datetime | None = None
    problem: str | None = None

    def __repr__(self) -> str:
        return f"<VideoResult {self.status}>"  # its links may be signed


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """A job at one moment: its status, its video, its error. ``provider_job_id`` is None where it is personal.

    ``waiting_for`` says why the receiver has not submitted it yet, where it is to; not in a page of jobs.
    """

    id: str
    provider: str
    status: JobStatus
    created_at: datetime
    video: VideoResult
    reference: str | None = None
    user: str | None = None
    provider_job_id: str | None = None
    progress: int | None = None
    trust: Trust | None = None
    submitted_at: datetime | None = None
    called_back_at: datetime | None = None
    finished_at: datetime | None = None
    overdue_at: datetime | None = None
    overdue_reason: str | None = None
    error: JobError | None = None
    waiting_for: str | None = None

    def __post_init__(self) -> None:
        if self.provider_job_id == _PERSONAL:
            msgspec.structs.force_setattr(self, "provider_job_id", None)

    def __repr__(self) -> str:
        return f"<JobResult {self.id} {self.status}, video {self.video.status}>"


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some jobs, newest first, and whether there are older ones: those before ``next``; iterable."""

    data: list[JobResult]
    has_more: bool
    next: str | None = None

    def __iter__(self) -> Iterator[JobResult]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


_JOB = msgspec.json.Decoder(JobResult)
_PAGE = msgspec.json.Decoder(JobPage)


def read_job_result(body: bytes) -> JobResult:
    """A job from the receiver's JSON. Raises ``UnreadableMessage``."""
    with _readable():
        return _JOB.decode(body)


def read_job_page(body: bytes) -> JobPage:
    """A page of jobs from the receiver's JSON. Raises ``UnreadableMessage``."""
    with _readable():
        return _PAGE.decode(body)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMessage(f"the receiver's answer is not what it says of jobs: {error}") from error
