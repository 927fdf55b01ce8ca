"""`Idempotency-Key`: the same POST with the same key is done once, and answered the same again for a day.

The key is kept before the request is run, its answer afterwards. A run that was cut off between the two is run again,
with the same ``made_id``, so an endpoint that makes something takes its id from there (``made_id_of``) and the second
run finds what the first has made. What runs here is remembered in memory; what runs in another receiver on the same
database, in its row.

A kept answer may hold a secret, so it is sealed: only the API key that it was given to opens it.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import new_id
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.idempotency import IdempotencyStore, KeptAnswer, KeyedRequest
from replyhook_receiver.web.auth import Endpoint
from replyhook_receiver.web.models import read_body
from replyhook_receiver.web.problems import answer_to, problem
from replyhook_receiver.web.sealing import seal, unseal

STILL_RUNNING_SECONDS = 1

_log = logging.getLogger(__name__)
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_Ident = tuple[str, str]


class Idempotency:
    """Guards POST endpoints. ``ApiKeys.guard`` has all of them go through ``once``: a key is its caller's own."""

    def __init__(self, store: IdempotencyStore, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._running: dict[_Ident, str] = {}

    def once(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint``, run once for each key; as it is for those who send none."""

        async def guarded(request: Request) -> Response:
            keys = request.headers.getlist("idempotency-key")
            if not keys:
                return await endpoint(request)
            if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
                return problem(400, "Idempotency-Key is sent once: 1 to 255 printable ASCII characters")
            ident = (_caller(request), keys[0])
            asked = _hash(request.method, request.url.path, request.url.query, await read_body(request))
            running = self._running.get(ident)
            if running is not None:
                return _still_running() if running == asked else _another_request()
            self._running[ident] = asked  # nothing was awaited since the look
            try:
                return await self._run(endpoint, request, ident, asked)
            finally:
                del self._running[ident]

        return guarded

    async def _run(self, endpoint: Endpoint, request: Request, ident: _Ident, asked: str) -> Response:
        known = await self._store.begin(*ident, asked, now=self._now())
        if known.request != asked:
            return _another_request()
        if known.answer is not None:
            return _again(request, known.answer, ident)
        if known.runs_elsewhere:
            return _still_running()
        try:
            return await self._run_here(endpoint, request, ident, known)
        except BaseException:
            await self._let_go(ident)
            raise

    async def _run_here(self, endpoint: Endpoint, request: Request, ident: _Ident, known: KeyedRequest) -> Response:
        request.state.made_id = known.made_id
        try:
            response = await endpoint(request)
        except Exception as error:
            refusal = await answer_to(request, error)
            if refusal is None:
                raise  # our own fault: the key stays, and with it the id of what may have been made
            response = refusal
        if response.status_code < 500:
            await self._keep(request, ident, response)
        else:
            await self._let_go(ident)
        return response

    async def _let_go(self, ident: _Ident) -> None:
        with suppress(StoreUnavailable):  # in a minute it may be run again, whoever was at it
            await self._store.let_go(*ident)

    async def _keep(self, request: Request, ident: _Ident, response: Response) -> None:
        content_type = response.headers.get("content-type", "application/octet-stream")
        body = seal(bytes(response.body), secret=_api_key(request), about=ident[1])
        answer = KeptAnswer(status=response.status_code, content_type=content_type, body=body)
        try:
            await self._store.keep_answer(*ident, answer)
        except StoreUnavailable as error:
            # What was asked for is done and on disk. Whoever asks again has it run again, with the same ids.
            _log.warning("the answer to an Idempotency-Key could not be kept: %s", error)


def made_id_of(request: Request, prefix: str) -> str:
    """The id for what the request makes: the same each time it is run for the same Idempotency-Key."""
    made_id = getattr(request.state, "made_id", None)
    return new_id(prefix) if made_id is None else f"{prefix}_{made_id}"


def _caller(request: Request) -> str:
    """Who asks, so that nobody is given another's answer; a hash other than the one keys are checked by."""
    return _hash("idempotency", _api_key(request))


def _api_key(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2].strip()


def _again(request: Request, answer: KeptAnswer, ident: _Ident) -> Response:
    body = unseal(answer.body, secret=_api_key(request), about=ident[1])
    if body is None:
        raise RuntimeError("what was kept of an answer cannot be opened with the key it was given to")
    headers = {"content-type": answer.content_type, "idempotent-replayed": "true", "cache-control": "no-store"}
    return Response(body, status_code=answer.status, headers=headers)


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def _still_running() -> Response:
    headers = {"retry-after": str(STILL_RUNNING_SECONDS)}
    detail = "the first request with this Idempotency-Key is still running: send the same again in a moment"
    return problem(409, detail, headers=headers, still_running=True)


def _another_request() -> Response:
    return problem(422, "this Idempotency-Key was used for another request: send a new key with this one")
