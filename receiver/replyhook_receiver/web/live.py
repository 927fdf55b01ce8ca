"""`GET /v1/stream`: notifications as server-sent events, resumed where a listener stopped."""

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook_receiver.errors import UnknownJob
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys

PING_SECONDS = 15
_LONGEST_SECONDS = 24 * 3600.0


def stream_routes(stream: Stream, store: Store, keys: ApiKeys) -> list[Route]:
    """The stream, for those with a key."""

    async def listen(request: Request) -> Response:
        job_id = request.query_params.get("job")
        if job_id is not None and await store.job(job_id) is None:
            raise UnknownJob(f"there is no job {job_id[:64]}")
        after = _cursor(request.headers.get("last-event-id"), job_id)
        if after is None:
            after = await store.last_notification()
        seconds = _seconds(request.query_params.get("seconds"))
        return EventSourceResponse(_events(stream, after, job_id, seconds), ping=PING_SECONDS)

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


async def _events(
    stream: Stream, after: int, job_id: str | None, seconds: float | None
) -> AsyncIterator[ServerSentEvent]:
    async for notification in stream.follow(after=after, job_id=job_id, seconds=seconds):
        yield ServerSentEvent(data=notification.body.decode(), event=notification.type, id=str(notification.sequence))
