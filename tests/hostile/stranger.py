"""A receiver on a real socket, a stranger who sends it anything, and what must hold whatever was sent."""

import base64
import hashlib
import hmac
import itertools
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from replyhook.ids import new_id
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.hostile.wire import Reply, exchange, pairs, replies, request
from tests.receiver.support import (
    API_KEY,
    NOW,
    SECRETS,
    SIGNING_KEY,
    TOKENS,
    WHSEC,
    Clock,
    FalKeys,
    Receiver,
    a_host,
    callback_path,
    fal_body,
    settings_for,
    useapi_body,
)

PIXVERSE_SECRET = "pixverse-geheim-0123456789"
TABLES = ("callbacks", "events", "notifications", "tasks", "nonces", "senders", "assets", "deliveries", "endpoints")
_NUMBERS = itertools.count(1)


@dataclass
class Served(Receiver):
    """A receiver on a socket."""

    port: int = 0


@asynccontextmanager
async def a_served_receiver(
    folder: Path,
    *,
    keys: tuple[str, ...] = (SIGNING_KEY,),
    providers: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """A receiver as `replyhook serve` runs it, on a free port of loopback; fal's keys are warm."""
    clock = Clock()
    async with a_host() as host:
        fal = FalKeys(host=host, clock=clock)
        given: dict[str, dict[str, Any]] = {
            "fal": {"jwks_url": fal.publish(), "base_url": f"{host.url}/fal"},
            "pixverse": {"webhook_id": "1", "webhook_secrets": [PIXVERSE_SECRET]},
        }
        given |= {name: given.get(name, {}) | values for name, values in (providers or {}).items()}
        settings = settings_for(folder, **({"providers": given, "refusals_per_minute": 0} | more))
        app = create_app(settings, secrets=replace(SECRETS, signing_keys=keys), now=clock, monotonic=clock.monotonic)
        bound = free_socket()
        port = bound.getsockname()[1]
        async with served(app, bound) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:
            running = Served(client=client, settings=settings, clock=clock, fal=fal, app=app, port=port)
            assert (await Good.fal(running).sent_to(running)).is_ok
            yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A callback that is all right, to be spoilt in one place; ``hidden`` is what nobody may be told."""

    path: str
    headers: list[tuple[str, bytes]]
    body: bytes
    hidden: tuple[str, ...]

    @classmethod
    def fal(cls, running: Served, *, body: bytes | None = None, **signed: Any) -> "Good":
        """fal's, signed, for a job of its own."""
        request_id = signed.pop("request_id", f"request-{next(_NUMBERS)}")
        body = fal_body(request_id, "IN_PROGRESS") if body is None else body
        headers = running.fal.headers(body, request_id=request_id, **signed)
        path = callback_path("fal", new_id("job"))
        return cls(path=path, headers=pairs(headers), body=body, hidden=(headers["x-fal-webhook-signature"],))

    @classmethod
    def pixverse(cls, *, body: bytes | None = None, form: str | None = None, **signed: Any) -> "Good":
        """PixVerse's, signed, about a video nobody knows; ``form`` is what is signed in place of the body's form."""
        body = json.dumps({"id": str(next(_NUMBERS)), "status": 5}).encode() if body is None else body
        headers = pixverse_headers(body, form=form, **signed)
        token = TOKENS.mint_account(provider="pixverse", account="default")
        signature = headers["webhook-signature"]
        return cls(path=f"/callbacks/pixverse/{token}", headers=pairs(headers), body=body, hidden=(signature,))

    @classmethod
    def useapi(cls, job_id: str | None = None, **more: Any) -> "Good":
        """useapi's, believed for its token alone."""
        job_id = job_id or new_id("job")
        headers = [("content-type", b"application/json")]
        return cls(path=callback_path("useapi", job_id), headers=headers, body=useapi_body(job_id, **more), hidden=())

    @property
    def token(self) -> str:
        """The reply URL's token."""
        return self.path.rpartition("/")[2]

    def changed(self, name: str, *values: bytes) -> list[tuple[str, bytes]]:
        """The headers with these values of one of them: none, one or several."""
        kept = [pair for pair in self.headers if pair[0] != name]
        return [*kept, *((name, value) for value in values)]

    def spoilt(self, headers: Iterable[tuple[str, bytes]] | None = None, body: bytes | None = None) -> bytes:
        """The request with something else in it."""
        return request(self.path, self.body if body is None else body, self.headers if headers is None else headers)

    async def sent_to(self, running: Served) -> Reply:
        """What is answered to it, on a fresh connection."""
        (reply,) = replies(await exchange(running.port, self.spoilt()))
        return reply


def pixverse_headers(
    body: bytes,
    *,
    form: str | None = None,
    secret: str = PIXVERSE_SECRET,
    timestamp: str | None = None,
    nonce: str | None = None,
    age: int = 0,
) -> dict[str, str]:
    """The headers PixVerse sends with ``body``, signed."""
    timestamp = timestamp if timestamp is not None else str(int(NOW.timestamp()) - age)
    nonce = nonce if nonce is not None else f"{next(_NUMBERS):032}"
    form = form or str(httpx.QueryParams({name: str(value) for name, value in json.loads(body).items()}))
    mac = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{form}".encode("latin-1"), hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-timestamp": timestamp,
        "webhook-nonce": nonce,
        "webhook-signature": base64.b64encode(mac.digest()).decode(),
    }


@dataclass
class Stranger:
    """Somebody who sends anything, and sees whether it was believed, kept or answered with something of ours."""

    served: Served
    log: pytest.LogCaptureFixture

    async def sends(self, *pieces: bytes, seconds: float = 30.0) -> list[Reply]:
        """What is answered."""
        return replies(await exchange(self.served.port, *pieces, seconds=seconds))

    async def is_refused(
        self, *pieces: bytes, status: int | tuple[int, ...], hides: Iterable[str] = (), seconds: float = 30.0
    ) -> list[Reply]:
        """Refused with one of ``status`` (0: closed without a word), nothing kept, nothing told, the server alive."""
        before = self.kept()
        said = await exchange(self.served.port, *pieces, seconds=seconds)
        answers = replies(said)
        wanted = status if isinstance(status, tuple) else (status,)
        assert [reply.status for reply in answers] in [[each] if each else [] for each in wanted], said[:500]
        assert self.kept() == before, "something was kept"
        await self.finds_it_alive()  # and by now the refusal has been logged
        self.hears_nothing(said, hides)
        return answers

    def hears_nothing(self, said: bytes, hides: Iterable[str] = ()) -> None:
        """No secret is in what was answered or logged, and no fault of ours was logged."""
        logged = [f"{record.getMessage()} {record.exc_text or ''} {record.stack_info}" for record in self.log.records]
        for secret in (*hides, SIGNING_KEY, API_KEY, WHSEC, WHSEC.removeprefix("whsec_"), PIXVERSE_SECRET):
            assert secret.encode() not in said
            assert not [line for line in logged if secret in line]
        lost = "replyhook_receiver.work.download"  # says loudly that a video is lost, whose ever fault that is
        faults = [record for record in self.log.records if record.levelno >= logging.ERROR and record.name != lost]
        assert not faults, [record.getMessage() for record in faults]

    async def finds_it_alive(self) -> None:
        """Whatever was sent before, the next honest callback is taken."""
        assert (await Good.useapi().sent_to(self.served)).is_ok

    def kept(self) -> dict[str, Any]:
        """All that a callback could change."""
        path = self.served.settings.database_path
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
            counts = {name: raw.execute(f"SELECT count(*) FROM {name}").fetchone() for name in TABLES}  # noqa: S608 - ours
            return counts | {"jobs": raw.execute("SELECT * FROM jobs ORDER BY id").fetchall()}
