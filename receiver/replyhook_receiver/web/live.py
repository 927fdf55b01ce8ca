"""`/v1/stream`: notifications as server-sent events, resumed where a listener stopped; and links to it for browsers."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest, VerificationError
from replyhook.notifications import SNAPSHOT
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.errors import UnknownJob
from replyhook_receiver.keys import Scope
from replyhook_receiver.records import JobPresent
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.streams import StreamBounds, StreamFilter
from replyhook_receiver.stream import Stream, as_event, said, server_sent
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import Access, ApiKeys, access_of, own_user
from replyhook_receiver.web.models import read_model
from replyhook_receiver.web.problems import RETRY_AFTER_SECONDS, problem, unavailable
from replyhook_receiver.web.receiver_models import StreamLink
from replyhook_receiver.web.stream_links import LONGEST_LINK, MAX_OPEN, StreamLinks
from replyhook_receiver.web.stream_query import FilterModel, read_cursor, read_filter, read_flag, read_seconds
from replyhook_receiver.web.stream_response import StreamResponse, StreamTimes

MAX_LISTENERS = 10_000
LINK_STREAM_SECONDS = 3600.0
"""How long a stream that a link opened may go on; its key is looked at again meanwhile, as for every stream."""

_MAX_BODY_BYTES = 64 * 1024
_ANY_PAGE = {"access-control-allow-origin": "*"}  # a link is its own permission; no cookie comes with it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is asked for, by whom, from where on; ``cursor`` is None for those who begin."""

    access: Access
    wanted: StreamFilter
    snapshot: bool
    place: bool = False
    cursor: int | None
    seconds: float | None


class StreamApi:
    """The stream, for those with a key or a link."""

    def __init__(
        self,
        *,
        stream: Stream,
        store: Store,
        announcer: Announcer,
        links: StreamLinks,
        now: Callable[[], datetime],
        times: StreamTimes | None = None,
    ) -> None:
        self._stream = stream
        self._store = store
        self._announcer = announcer
        self._links = links
        self._now = now
        self._times = times or StreamTimes()

    def routes(self, keys: ApiKeys) -> list[Route]:
        """What it answers, and to whom."""

        async def listen(request: Request) -> Response:
            return await self._with_key(request, keys)

        async def listen_by_link(request: Request) -> Response:
            return await self._with_link(request, keys)

        return [
            Route("/v1/stream", keys.guard(listen), methods=["GET"]),
            Route("/v1/stream/links", keys.guard(self._make_link), methods=["POST"], max_body_size=_MAX_BODY_BYTES),
            Route("/streams/{token}", listen_by_link, methods=["GET"]),
        ]

    async def _with_key(self, request: Request, keys: ApiKeys) -> Response:
        query, access = request.query_params, access_of(request)
        wish = _Wish(
            access=access,
            wanted=_within(read_filter(query), access),
            snapshot=read_flag("snapshot", query.get("snapshot")),
            place=read_flag("place", query.get("place")),
            cursor=read_cursor(request.headers.get("last-event-id")),
            seconds=read_seconds(query.get("seconds")),
        )
        return await self._open(wish, keys)

    async def _make_link(self, request: Request) -> Response:
        model, access = await read_model(request, FilterModel), access_of(request)
        wanted = _within(model.checked(), access)
        _check_snapshot(model.snapshot, wanted)
        await self._present(wanted, access)
        expires_at = (self._now() + LONGEST_LINK).replace(microsecond=0)
        url = self._links.make(access, wanted, snapshot=model.snapshot, expires_at=expires_at)
        return answer(StreamLink, StreamLink(url=url, expires_at=expires_at), status=201)

    async def _with_link(self, request: Request, keys: ApiKeys) -> Response:
        token = request.path_params["token"]
        try:
            claims = self._links.read(token, now=self._now())
        except VerificationError as error:
            return problem(403, str(error), headers=_ANY_PAGE)
        if self._links.open[token] >= MAX_OPEN:
            headers = {**_ANY_PAGE, "retry-after": str(RETRY_AFTER_SECONDS)}
            return problem(429, f"this link has {MAX_OPEN} streams open; ask for another one", headers=headers)
        if not await _is_allowed(keys, claims.access):
            return problem(403, "the key that made this link is not valid any more", headers=_ANY_PAGE)
        wish = _Wish(
            access=claims.access,
            wanted=claims.wanted,
            snapshot=claims.snapshot,
            cursor=read_cursor(request.headers.get("last-event-id")),
            seconds=LINK_STREAM_SECONDS,
        )
        return await self._open(wish, keys, token=token)

    async def _open(self, wish: _Wish, keys: ApiKeys, *, token: str | None = None) -> Response:
        if self._stream.listeners >= MAX_LISTENERS:
            return unavailable(f"{MAX_LISTENERS} listeners are here already")
        _check_snapshot(wish.snapshot, wish.wanted)
        present = await self._present(wish.wanted, wish.access)
        after, first = _beginning(wish, await self._stream.entries.bounds())
        if wish.place:
            first += server_sent("stream.place", b"{}", event_id=after)
        opening = self._opening(first, after, present if wish.snapshot else None)
        follow_after = max(after, present.through) if wish.snapshot and present is not None else after
        if token is not None:
            self._links.open[token] += 1
        try:
            follower = await self._stream.follow(wish.wanted, after=follow_after)
        except BaseException:
            self._ended(token)
            raise
        return StreamResponse(
            self._stream,
            follower,
            opening=opening,
            seconds=wish.seconds,
            is_allowed=lambda: _is_allowed(keys, wish.access),
            times=self._times,
            headers=None if token is None else _ANY_PAGE,
            ended=lambda: self._ended(token),
        )

    def _ended(self, token: str | None) -> None:
        if token is not None:
            self._links.open[token] -= 1
            if self._links.open[token] <= 0:
                del self._links.open[token]

    async def _present(self, wanted: StreamFilter, access: Access) -> JobPresent | None:
        """The last of the jobs that are asked for, as it is. Raises ``UnknownJob`` where one is not there to see."""
        present = None
        for job_id in wanted.jobs:
            present = await self._store.present(job_id)
            if present is None or access.user not in (None, present.job.user):
                raise UnknownJob(f"there is no job {job_id[:64]}")
        return present

    async def _opening(self, first: bytes, after: int, present: JobPresent | None) -> AsyncIterator[bytes]:
        """What is said first; of a job that is wanted ``present``, what was announced and how it is after that.

        So nobody takes the past for the present.
        """
        if first:
            yield first
        if present is not None:
            async for entry in self._stream.history(after=after, through=present.through, job_id=present.job.id):
                yield as_event(entry).data
            yield server_sent(SNAPSHOT, self._announcer.snapshot(present.job, self._now()))


async def _is_allowed(keys: ApiKeys, access: Access) -> bool:
    """Whether the key still gives what it gave."""
    found = await keys.access_now(access.key_id)
    return found is not None and found.user == access.user and Scope.READ in found.scopes


def _within(wanted: StreamFilter, access: Access) -> StreamFilter:
    """``wanted`` as far as a key may see it."""
    if access.user is None:
        return wanted
    for user in wanted.users:
        own_user(access, user)
    return replace(wanted, users=frozenset({access.user}))


def _check_snapshot(snapshot: bool, wanted: StreamFilter) -> None:
    if snapshot and len(wanted.jobs) != 1:
        raise InvalidRequest("snapshot", "true", "only with job=… of one job")


def _beginning(wish: _Wish, bounds: StreamBounds) -> tuple[int, bytes]:
    """After which place to begin, and what to say where that is not the place that was asked for.

    Without ``Last-Event-ID`` it is a job's first, or what comes next for all jobs; 0 is the first that is kept.
    """
    after = wish.cursor
    if after is None:
        return (0 if wish.wanted.jobs else bounds.last), b""
    if 0 < after < bounds.first - 1:
        detail = "what came next is no longer kept; here is what is. Ask for the jobs to see how they are"
        return bounds.first - 1, said("reset", reason="too_old", detail=detail, event_id=bounds.first - 1)
    if after > bounds.last:
        if wish.snapshot:  # it is told how the job is anyway
            return bounds.last, b""
        detail = "this stream has not come so far: was its database put back? Ask for the jobs to see how they are"
        return bounds.last, said("reset", reason="not_reached", detail=detail, event_id=bounds.last)
    return after, b""
