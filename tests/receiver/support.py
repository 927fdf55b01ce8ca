"""A receiver as it really runs, a clock to set, a fal that really signs, and hosts on loopback that misbehave."""

import asyncio
import base64
import hashlib
import inspect
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from nacl.signing import SigningKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from replyhook_receiver.config import Settings
from replyhook_receiver.own_secrets import Secrets
from replyhook_receiver.serving import free_socket
from replyhook_receiver.web.app import create_app
from tests.receiver.sqlite_file import lay

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LOOPBACK = "127.0.0.0/8"
API_KEY = "rhk_geheim-0123456789-0123456789"
SIGNING_KEY = "signing-geheim-0123456789-0123456789"
WHSEC = "whsec_" + base64.b64encode(b"notification-geheim-0123456789..").decode()
SECRETS = Secrets(signing_keys=(SIGNING_KEY,), api_keys=(API_KEY,), notification_secrets=(WHSEC,))
TOKENS = TokenKeys((SIGNING_KEY,))
AUTH = {"authorization": f"Bearer {API_KEY}"}
PUBLIC_URL = "https://hooks.example.com"
PERSONAL_ID = "user:1234-pixverse:jane.doe@example.com-video:112233445566"

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Clock:
    """A clock that stands still until it is moved; ``monotonic`` stays where it is when the clock is set back."""

    at: datetime = NOW
    passed: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)
        self.passed += max(timedelta(**by), timedelta(0))

    def monotonic(self) -> float:
        return self.passed.total_seconds()


async def until(is_so: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for what has no event; ``is_so`` may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = is_so()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.005)


# Hosts


@dataclass
class Host:
    """An HTTP host on loopback: answers by path, in turn (the last one stays), and keeps what it was asked."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    """Method, path, headers and body of every request."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def will(self, path: str, *answers: Answer) -> str:
        """Answer so; the URL to ask."""
        self.answers[path] = list(answers)
        return self.url + path

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(seen[1] == path for seen in self.seen)

    async def serve(self, request: Request) -> Response:
        request.scope["host.closing"] = self.closing
        path = request.url.path
        self.seen.append((request.method, path, dict(request.headers), await request.body()))
        waiting = self.answers.get(path)
        if waiting is None:
            return PlainTextResponse("no such path", 404)
        return await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)


@asynccontextmanager
async def a_host(address: str = "127.0.0.1") -> AsyncIterator[Host]:
    """A host that really listens; it ends at once, without waiting for answers that are meant never to end."""
    host = Host()
    app = Starlette(routes=[Route("/{path:path}", host.serve, methods=["GET", "POST", "PUT"])])
    config = uvicorn.Config(app, log_config=None, log_level=60, lifespan="off", ws="none")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with free_socket(address) as bound:
        await server.startup(sockets=[bound])
        host.url = f"http://{address}:{bound.getsockname()[1]}"
        try:
            yield host
        finally:
            host.closing.set()
            for listening in server.servers:
                listening.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await asyncio.gather(*server.server_state.tasks, return_exceptions=True)


def says(status: int, content: bytes = b"", **headers: str) -> Answer:
    """Answer this."""

    async def answer(_: Request) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Response(content, status_code=status, headers=named)

    return answer


def says_json(content: Any, status: int = 200) -> Answer:
    """Answer this as JSON."""

    async def answer(_: Request) -> Response:
        return JSONResponse(content, status_code=status)

    return answer


async def pause(request: Request, seconds: float) -> None:
    """Wait, but not longer than the host is there."""
    closing: asyncio.Event = request.scope["host.closing"]
    with suppress(TimeoutError):
        await asyncio.wait_for(closing.wait(), seconds)


def drips(seconds: float, chunk: bytes = b"x", times: int | None = None) -> Answer:
    """A chunk now and then, for ever or so many times."""

    async def answer(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            sent = 0
            while sent != times and not request.scope["host.closing"].is_set():
                yield chunk
                sent += 1
                await pause(request, seconds)

        return StreamingResponse(body(), media_type="video/mp4")

    return answer


def waits(seconds: float, answer: Answer) -> Answer:
    """Answer only after a while."""

    async def late(request: Request) -> Response:
        await pause(request, seconds)
        return await answer(request)

    return late


@asynccontextmanager
async def raw_host(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A host that writes whatever bytes ``script`` writes after a request; its URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await script(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


# fal


@dataclass
class FalKeys:
    """fal's signing keys, published at a host; and callbacks signed with them."""

    host: Host
    clock: Clock
    user_id: str = "fal-user-1"
    key: SigningKey = field(default_factory=SigningKey.generate)
    PATH = "/.well-known/jwks.json"

    def publish(self, *keys: SigningKey) -> str:
        """Publish ``keys``, or the one in use; where."""
        return self.host.will(self.PATH, says_json(jwks(*(keys or (self.key,)))))

    def headers(
        self, body: bytes, *, request_id: str, user_id: str | None = None, key: SigningKey | None = None, age: float = 0
    ) -> dict[str, str]:
        """The headers fal sends with ``body``."""
        user = user_id or self.user_id
        timestamp = str(int(self.clock().timestamp() - age))
        signed = "\n".join((request_id, user, timestamp, hashlib.sha256(body).hexdigest())).encode()
        return {
            "content-type": "application/json",
            "x-fal-webhook-request-id": request_id,
            "x-fal-webhook-user-id": user,
            "x-fal-webhook-timestamp": timestamp,
            "x-fal-webhook-signature": (key or self.key).sign(signed).signature.hex(),
        }


def jwks(*keys: SigningKey) -> dict[str, Any]:
    """A key set as fal publishes it: without padding."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "kid": str(number),
                "x": base64.urlsafe_b64encode(bytes(key.verify_key)).rstrip(b"=").decode(),
            }
            for number, key in enumerate(keys)
        ]
    }


def fal_body(request_id: str, status: str = "OK", url: str = "https://v3.fal.media/one.mp4", **more: Any) -> bytes:
    """A callback's body as fal sends it."""
    payload = {"video": {"url": url, "content_type": "video/mp4"}} if status == "OK" else {"detail": "it broke"}
    content = {"request_id": request_id, "gateway_request_id": request_id, "status": status, "payload": payload}
    return json.dumps(content | more).encode()


def useapi_body(job_id: str | None, word: str = "GENERATING", video_id: str = PERSONAL_ID, **more: Any) -> bytes:
    """A callback's body as useapi sends it."""
    content = {"video_id": video_id, "video_status_name": word}
    return json.dumps(content | ({"replyRef": job_id} if job_id else {}) | more).encode()


# The receiver


@dataclass
class Receiver:
    """A receiver that runs, and a client of its HTTP interface."""

    client: httpx.AsyncClient
    settings: Settings
    clock: Clock
    fal: FalKeys
    app: Starlette = field(default_factory=Starlette, repr=False)

    async def register(self, provider: str = "useapi", job_id: str | None = None, **contents: Any) -> tuple[str, str]:
        """Register a job: its id and the path of its reply URL."""
        job_id = job_id or new_id("job")
        response = await self.client.put(f"/v1/jobs/{job_id}", json={"provider": provider, **contents}, headers=AUTH)
        assert response.status_code == 200, response.text
        return job_id, response.json()["reply_url"].removeprefix(PUBLIC_URL)

    async def submitted(self, job_id: str, provider_job_id: str) -> None:
        """Report its submit as accepted."""
        content = {"outcome": "accepted", "provider_job_id": provider_job_id}
        response = await self.client.post(f"/v1/jobs/{job_id}/submission", json=content, headers=AUTH)
        assert response.status_code == 200, response.text

    async def job(self, job_id: str) -> dict[str, Any]:
        """A job as the API shows it."""
        response = await self.client.get(f"/v1/jobs/{job_id}", headers=AUTH)
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content

    async def callbacks(self, job_id: str | None = None) -> list[dict[str, Any]]:
        """The kept callbacks, newest first."""
        query = {"job": job_id} if job_id else {}
        content: list[dict[str, Any]] = (await self.client.get("/v1/callbacks", params=query, headers=AUTH)).json()[
            "data"
        ]
        return content

    async def callback(self, callback_id: str, *, raw: bool = True) -> dict[str, Any]:
        """One callback with what came in it."""
        query = {"raw": str(raw).lower()}
        response = await self.client.get(f"/v1/callbacks/{callback_id}", params=query, headers=AUTH)
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content

    async def refusals(self) -> dict[str, dict[str, int]]:
        """The counts of refused callbacks."""
        content: dict[str, dict[str, int]] = (await self.client.get("/v1/refusals", headers=AUTH)).json()
        return content

    async def eventually(
        self, job_id: str, is_so: Callable[[dict[str, Any]], object], seconds: float = 60.0
    ) -> dict[str, Any]:
        """The job once ``is_so`` of it."""
        deadline = time.monotonic() + seconds
        while True:
            job = await self.job(job_id)
            if is_so(job):
                return job
            assert time.monotonic() < deadline, f"it never came to be so: {job}"
            await asyncio.sleep(0.01)

    async def key(self, *scopes: str, **contents: Any) -> dict[str, str]:
        """The headers of a new API key."""
        content = {"scopes": scopes, **contents} if scopes else contents
        response = await self.client.post("/v1/keys", json=content, headers=AUTH)
        assert response.status_code == 201, response.text
        return {"authorization": f"Bearer {response.json()['key']}"}

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What another process sees in the database."""
        with closing(sqlite3.connect(f"file:{self.settings.database_path}?mode=ro", uri=True)) as raw:
            return raw.execute(statement).fetchall()

    def files(self) -> list[Path]:
        """Everything in the storage folder but posters."""
        paths = self.settings.storage_path.rglob("*")
        return [path for path in paths if path.is_file() and path.suffix != ".jpg"]


def settings_for(folder: Path, **more: Any) -> Settings:
    """Settings of a receiver that may talk to loopback."""
    values: dict[str, Any] = {"public_url": PUBLIC_URL, "data_dir": folder / "data", "allowed_networks": (LOOPBACK,)}
    return Settings(**(values | more))


@asynccontextmanager
async def a_receiver(
    folder: Path,
    host: Host,
    *,
    providers: dict[str, dict[str, Any]] | None = None,
    clock: Clock | None = None,
    **more: Any,
) -> AsyncIterator[Receiver]:
    """A running receiver; ``host`` plays the providers, their media hosts and fal's key server."""
    clock = clock or Clock()
    fal = FalKeys(host=host, clock=clock)
    given: dict[str, dict[str, Any]] = {
        "fal": {"jwks_url": fal.publish(), "base_url": f"{host.url}/fal", "media_hosts": ("127.0.0.1",)},
        "useapi": {"base_url": f"{host.url}/useapi", "media_hosts": ("127.0.0.1",)},
    }
    for name, values in (providers or {}).items():
        given[name] = given.get(name, {}) | values
    settings = settings_for(folder, providers=given, **more)
    if settings.postgres_url is None:
        lay(settings.database_path)
    app = create_app(settings, secrets=SECRETS, now=clock, monotonic=clock.monotonic)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://receiver", timeout=10) as client,
    ):
        yield Receiver(client=client, settings=settings, clock=clock, fal=fal, app=app)


def callback_path(provider: str, job_id: str, *, at: datetime = NOW, tokens: TokenKeys = TOKENS) -> str:
    """The path of a job's reply URL, for a job that nobody registered."""
    return f"/callbacks/{provider}/{tokens.mint(provider=provider, job_id=job_id, now=at)}"
