"""Where providers call back: `POST /callbacks/{provider}/{token}`, answered ``ok`` once it is all on disk.

This is the hot path, so it is plain ASGI in front of the router and the other middleware: a request object, a route
match and a log line cost as much again as taking the callback itself. Our own server brings plain requests past even
ASGI (``short_way``); the rules are the same ones (README, "Measured").
"""

import logging
import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from replyhook.errors import VerificationError
from replyhook.tokens import ReplyToken
from replyhook_receiver.bounds import MAX_HEADER_BYTES
from replyhook_receiver.ingest import Ingest
from replyhook_receiver.records import Accepted
from replyhook_receiver.short_way import Answer
from replyhook_receiver.web.callback_access import TEMPLATE, write_line
from replyhook_receiver.web.callback_answers import (
    AGAIN,
    GONE,
    NO_SUCH_PROVIDER,
    NOT_POST,
    NOT_TO_LOOK_AT,
    NOT_VERIFIED,
    OK,
    TOO_LARGE,
    TOO_MANY_HEADERS,
    Refused,
    answer_to,
    too_many,
)
from replyhook_receiver.web.client_address import Network, client_address
from replyhook_receiver.web.limits import FailureLimiter
from replyhook_receiver.web.patience import Patience
from replyhook_receiver.web.prefix import hide_path, own_path

BODY_SECONDS = 10.0
MAX_HEADERS = 100
_BODIES_A_JOB = 2  # the largest ones that one job's token may have us hold: who has one token locks nobody else out
PREFIX = "/callbacks/"

_log = logging.getLogger("replyhook.access")

# The token is in the path, so no header holds a secret of ours but these, which a proxy may add.
_HIDDEN = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


async def _send(scope: Scope, send: Send, answer: Answer) -> None:
    hide_path(scope, TEMPLATE)
    await send(answer.start)
    await send(answer.body)


class Callbacks:
    """The rules by which callbacks are answered, whichever way the server brings them.

    Wrong tokens are counted by ``limiter`` and address, right ones never, whatever else is wrong with their requests.
    ``max_body_bytes`` limits one body, twice that those of one job, and ``max_held_bytes`` all together that are not
    answered yet.
    """

    def __init__(
        self,
        *,
        ingest: Ingest,
        limiter: FailureLimiter,
        trusted_proxies: Sequence[Network],
        max_body_bytes: int,
        max_held_bytes: int,
        acknowledged: Callable[[float], None] | None = None,
    ) -> None:
        self._ingest = ingest
        self._limiter = limiter
        self._trusted_proxies = trusted_proxies
        self._max_body_bytes = max_body_bytes
        self._max_held_bytes = max_held_bytes
        self._acknowledged = acknowledged
        self._held_bytes = 0
        self._held_by_job: dict[str, int] = {}
        self._patience = Patience(BODY_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application does."""
        started = time.perf_counter()
        token = None
        try:
            token = self._token(scope)
            accepted = await self._accepted(scope, token, receive)
        except Exception as error:  # kept for longer it would hold this frame, and the frame it, with the request
            answer = answer_to(error)
            await _send(scope, send, answer)
            self._note(scope, answer, started, token, error)
        else:
            await _send(scope, send, OK)
            self._note(scope, OK, started, token, accepted)

    def take(self, scope: Scope, body: bytes, answered: Callable[[Answer], None]) -> bool:
        """Answer a request whose body is there: see ``short_way.TakesCallbacks``."""
        started = time.perf_counter()

        def answer_with(answer: Answer, token: ReplyToken | None, outcome: Accepted | Exception) -> None:
            answered(answer)
            self._note(scope, answer, started, token, outcome)

        try:
            token = self._token(scope)
        except Exception as error:
            answer_with(answer_to(error), None, error)
            return True

        def settle(outcome: Accepted | Exception) -> None:
            self._let_go(len(body), token.job_id)
            answer_with(answer_to(outcome) if isinstance(outcome, Exception) else OK, token, outcome)

        is_taken = False
        try:
            headers = self._headers(scope["headers"])
            try:
                self._hold(len(body), token.job_id)
                is_taken = self._ingest.take_at_once(token, headers, body, settle)
            finally:
                if not is_taken:
                    self._let_go(len(body), token.job_id)
        except Exception as error:
            answer_with(answer_to(error), token, error)
            return True
        return is_taken

    async def _accepted(self, scope: Scope, token: ReplyToken, receive: Receive) -> Accepted:
        headers = self._headers(scope["headers"])
        body = await self._body(receive, token.job_id)
        try:
            return await self._ingest.take(token, headers, body)
        finally:
            self._let_go(len(body), token.job_id)

    def _note(
        self, scope: Scope, answer: Answer, started: float, token: ReplyToken | None, outcome: Accepted | Exception
    ) -> None:
        if answer is OK and self._acknowledged is not None:
            self._acknowledged(time.perf_counter() - started)
        # What was taken is in the database with its verdict, so at the usual level only the rest is logged.
        if answer is not OK or _log.isEnabledFor(logging.DEBUG):
            milliseconds = (time.perf_counter() - started) * 1000
            write_line(scope["method"][:16], answer.status, milliseconds, token, outcome)

    def _token(self, scope: Scope) -> ReplyToken:
        if scope["method"] != "POST":
            raise Refused(NOT_TO_LOOK_AT if scope["method"] in ("GET", "HEAD") else NOT_POST)
        # A token with slashes, or none at all, is a wrong token: 401, not 404.
        provider, _, text = own_path(scope)[len(PREFIX) :].partition("/")
        if not self._ingest.knows(provider):
            raise Refused(NO_SUCH_PROVIDER)
        try:
            return self._ingest.read_token(provider, text)
        except VerificationError as error:
            wait = self._limiter.count(client_address(scope, self._trusted_proxies))
            answer = NOT_VERIFIED if wait is None else too_many(wait)
            raise Refused(answer, why=str(error), provider=provider) from error

    def _headers(self, raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
        if len(raw) > MAX_HEADERS:
            raise Refused(TOO_MANY_HEADERS)
        found = []
        size = 0
        for name, value in raw:
            size += len(name) + len(value)
            if name == b"content-length" and int(value) > self._max_body_bytes:  # the server has checked its form
                raise Refused(TOO_LARGE)
            if name not in _HIDDEN:
                found.append((name.decode("latin-1"), value.decode("latin-1")))
        if size > MAX_HEADER_BYTES:  # the server's own check of it lets through what comes in one piece
            raise Refused(TOO_MANY_HEADERS)
        return tuple(found)

    async def _body(self, receive: Receive, whose: str | None) -> bytes:
        """The whole body. It counts as held until ``_let_go``."""
        chunks: list[bytes] = []
        size = 0
        try:
            with self._patience:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(GONE, why="the sender hung up before the body was whole")
                    chunk = message.get("body", b"")
                    if size + len(chunk) > self._max_body_bytes:
                        raise Refused(TOO_LARGE)
                    size += len(chunk)
                    self._hold(len(chunk), whose)
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except BaseException:
            self._let_go(size, whose)
            raise

    def _hold(self, size: int, whose: str | None) -> None:
        """Count bytes as held; it is refused when they are more than all together, or one job, may hold."""
        self._held_bytes += size
        if whose is not None:
            self._held_by_job[whose] = held = self._held_by_job.get(whose, 0) + size
            if held > _BODIES_A_JOB * self._max_body_bytes:
                raise Refused(AGAIN, why="more bodies of one job wait than may be held")
        if self._held_bytes > self._max_held_bytes:
            raise Refused(AGAIN, why="more bodies wait than may be held")

    def _let_go(self, size: int, whose: str | None) -> None:
        self._held_bytes -= size
        if whose is not None:
            left = self._held_by_job.pop(whose, 0) - size
            if left:
                self._held_by_job[whose] = left


class CallbackRoute:
    """Middleware that gives ``callbacks`` what begins with ``/callbacks/``, and passes on everything else."""

    def __init__(self, app: ASGIApp, *, callbacks: Callbacks) -> None:
        self._app = app
        self._callbacks = callbacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_callback = scope["type"] == "http" and own_path(scope).startswith(PREFIX)
        await (self._callbacks if is_callback else self._app)(scope, receive, send)
