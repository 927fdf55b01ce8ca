"""`GET /v1/stream`: notifications as server-sent events, resumed where a listener stopped."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook.notifications import SNAPSHOT
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.errors import UnknownJob
from replyhook_receiver.records import JobPresent, NotificationRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys

PING_SECONDS = 15
_LONGEST_SECONDS = 24 * 3600.0


def stream_routes(
    stream: Stream, store: Store, announcer: Announcer, keys: ApiKeys, now: Callable[[], datetime]
) -> list[Route]:
    """The stream, for those with a key."""

    async def listen(request: Request) -> Response:
        job_id = request.query_params.get("job")
        present = None if job_id is None else await store.present(job_id)
        if job_id is not None and present is None:
            raise UnknownJob(f"there is no job {job_id[:64]}")
        after = _cursor(request.headers.get("last-event-id"), job_id)
        if after is None:
            after = await store.last_notification()
        seconds = _seconds(request.query_params.get("seconds"))
        events = _sent(stream.follow(after=after, job_id=job_id, seconds=seconds))
        if _wants_snapshot(request.query_params.get("snapshot")):
            if present is None:
                raise InvalidRequest("snapshot", "true", "only with job=…")
            events = _with_snapshot(stream, after, present, announcer.snapshot(present.job, now()), seconds)
        return EventSourceResponse(events, ping=PING_SECONDS)

    return [Route("/v1/stream", keys.guard(listen), methods=["GET"])]


def _cursor(text: str | None, job_id: str | None) -> int | None:
    """Where to begin: after ``Last-Event-ID``; without one at a job's first, or at what comes next for all jobs."""
    if not text:
        return 0 if job_id else None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidRequest("Last-Event-ID", text, "an id that this stream has sent, or 0")
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LONGEST_SECONDS:
        raise InvalidRequest("seconds", text, f"a number above 0, up to {_LONGEST_SECONDS:.0f}")
    return value


def _wants_snapshot(text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise InvalidRequest("snapshot", text, "true or false")
    return text == "true"


async def _with_snapshot(
    stream: Stream, after: int, present: JobPresent, snapshot: bytes, seconds: float | None
) -> AsyncIterator[ServerSentEvent]:
    """What was announced of a job, how it is after that, and what comes then: nobody takes the past for the present."""
    job_id = present.job.id
    async for event in _sent(stream.history(after=after, through=present.through, job_id=job_id)):
        yield event
    yield ServerSentEvent(data=snapshot.decode(), event=SNAPSHOT)
    async for event in _sent(stream.follow(after=max(after, present.through), job_id=job_id, seconds=seconds)):
        yield event


async def _sent(notifications: AsyncIterator[NotificationRecord]) -> AsyncIterator[ServerSentEvent]:
    async for notification in notifications:
        yield ServerSentEvent(data=notification.body.decode(), event=notification.type, id=str(notification.sequence))
