"""A running sandbox, and a listener that keeps the callbacks it is sent."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook.certificates import usual_certificates
from replyhook_receiver.sandbox import SandboxOptions, create_sandbox

KEY = "sandbox-key"
FAL = {"authorization": f"Key {KEY}"}
USEAPI = {"authorization": f"Bearer {KEY}"}
PIXVERSE_SECRET = "sandbox-webhook-secret"
SEGMIND = {"x-api-key": KEY}
FAL_EXTEND = "/fal/fal-ai/pixverse/v6/extend"
USEAPI_EXTEND = "/useapi/v2/pixverse/videos/extend-v3"
AIHUBMAX_EXTEND = "/aihubmax/v1/videos/generations"
PIXVERSE = "/pixverse/openapi/v2"
SEGMIND_EXTEND = "/segmind/v1/pixverse-5-extend"


def pixverse_headers() -> dict[str, str]:
    """The key, and a trace id that was never used."""
    return {"api-key": KEY, "ai-trace-id": str(uuid.uuid4())}


@asynccontextmanager
async def serving(app: Starlette, listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(app, log_level="error", access_log=False, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve([listening]))
    try:
        await until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        await running


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not is_so():
            await anyio.sleep(0.005)


@dataclass
class Listener:
    """Answers callbacks with ``statuses`` in turn, then with 200 ``ok``, and keeps them all."""

    url: str
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, httpx.Headers, bytes]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.received.append((request.url.path, httpx.Headers(request.headers.raw), await request.body()))
        status = self.statuses.pop(0) if self.statuses else 200
        return PlainTextResponse("ok" if status == 200 else "no", status)

    async def until(self, number: int) -> None:
        await until(lambda: len(self.received) >= number)


def links_in(value: Any) -> list[str]:
    """Every link to a result in an answer."""
    if isinstance(value, dict | list):
        return [link for each in (value.values() if isinstance(value, dict) else value) for link in links_in(each)]
    return [value] if isinstance(value, str) and "/media/" in value else []


async def received_of(answer: httpx.Response) -> tuple[bytes, bool]:
    """What arrives of an answer's body, and whether that is all."""
    received = b""
    try:
        async for chunk in answer.aiter_raw():
            received += chunk
    except httpx.RemoteProtocolError:
        return received, False
    return received, True


@dataclass
class World:
    """A sandbox at ``client``'s base address and a listener, both really listening."""

    base_url: str
    client: httpx.AsyncClient
    listener: Listener
    app: Starlette

    @property
    def source_url(self) -> str:
        return f"{self.base_url}/_sandbox/source.mp4?seconds=1"

    async def fal(self, *, reply: bool = True, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"video_url": self.source_url, "prompt": "on", "resolution": "360p", "duration": 1} | fields
        params = {"fal_webhook": f"{self.listener.url}/callbacks/fal/token"} if reply else {}
        return await self.client.post(FAL_EXTEND, params=params, json=body, headers=FAL | (headers or {}))

    async def uploaded(self) -> str:
        """The path of a clip uploaded to useapi."""
        clip = (await self.client.get(self.source_url)).content
        headers = USEAPI | {"content-type": "video/mp4"}
        return (await self.client.post("/useapi/v2/pixverse/files/", content=clip, headers=headers)).json()["path"]

    async def useapi(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        if "video_id" not in fields and "video_path" not in fields:
            fields["video_path"] = await self.uploaded()
        body = {
            "prompt": "on",
            "quality": "360p",
            "replyUrl": f"{self.listener.url}/callbacks/useapi/abcdef",
            "replyRef": "order-42",
        } | fields
        return await self.client.post(USEAPI_EXTEND, json=body, headers=USEAPI | (headers or {}))

    async def aihubmax(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {
            "model": "pixverse-v6-extend",
            "video_url": self.source_url,
            "prompt": "on",
            "resolution": "360p",
            "duration": 1,
            "callback_url": f"{self.listener.url}/callbacks/aihubmax/abcdef",
        }
        return await self.client.post(AIHUBMAX_EXTEND, json=body | fields, headers=USEAPI | (headers or {}))

    async def console(self, **entry: Any) -> httpx.Response:
        """Register a webhook at PixVerse; it is the listener unless ``url`` is given."""
        entry = {"url": f"{self.listener.url}/callbacks/pixverse/account"} | entry
        return await self.client.post("/_sandbox/pixverse/webhooks", json=entry)

    async def pixverse_media(self, source_url: str | None = None) -> dict[str, Any]:
        files = {"file_url": (None, source_url or self.source_url)}
        answer = await self.client.post(f"{PIXVERSE}/media/upload", files=files, headers=pixverse_headers())
        return answer.json()

    async def pixverse(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        """An extend of a clip that is uploaded first, if nothing else is named; it calls webhook 1."""
        if "video_media_id" not in fields and "source_video_id" not in fields:
            fields["video_media_id"] = (await self.pixverse_media())["Resp"]["media_id"]
        if "webhook_id" not in fields:
            await self.console()
        body = {"prompt": "on", "model": "v6", "duration": 1, "quality": "360p", "webhook_id": "1"} | fields
        return await self.client.post(
            f"{PIXVERSE}/video/extend/generate", json=body, headers=pixverse_headers() | (headers or {})
        )

    async def pixverse_result(self, video_id: Any) -> dict[str, Any]:
        answer = await self.client.get(f"{PIXVERSE}/video/result/{video_id}", headers=pixverse_headers())
        return answer.json()

    async def segmind(
        self, *, path: str = SEGMIND_EXTEND, headers: dict[str, str] | None = None, **fields: Any
    ) -> httpx.Response:
        body = {
            "video_url": self.source_url,
            "prompt": "on",
            "duration": 5,
            "quality": "360p",
            "motion_mode": "normal",
        }
        return await self.client.post(path, json=body | fields, headers=SEGMIND | (headers or {}))

    async def the_job(self, *, callbacks: int = 0) -> dict[str, Any]:
        """The only job there is, when it has ended."""
        jobs = (await self.client.get("/_sandbox/jobs")).json()
        return await self.finished(jobs[0]["id"], callbacks=callbacks)

    async def told_links(self) -> list[str]:
        """The result links in the last callback, whoever sent it."""
        await self.listener.until(1)
        return links_in(json.loads(self.listener.received[-1][2]))

    async def calls(self, provider: str) -> dict[str, int]:
        return (await self.client.get("/_sandbox/calls")).json()[provider]

    async def job(self, job_id: str) -> dict[str, Any]:
        jobs = (await self.client.get("/_sandbox/jobs")).json()
        return next(job for job in jobs if job["id"] == job_id)

    async def finished(self, job_id: str, *, callbacks: int = 0) -> dict[str, Any]:
        """The job when it has ended and made so many attempts to call back."""
        with anyio.fail_after(60):
            while True:
                job = await self.job(job_id)
                if job["finished_at"] and len(job["callbacks"]) >= callbacks:
                    return job
                await anyio.sleep(0.02)


@asynccontextmanager
async def a_world(work_dir: Path, *, statuses: list[int] | None = None, **options: Any) -> AsyncIterator[World]:
    """A sandbox that really listens; the callbacks' listener is behind the same address."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    listener = Listener(base_url, statuses or [])
    app = create_sandbox(SandboxOptions(**{"base_url": base_url, "work_dir": work_dir, "speed": 1000.0} | options))
    app.router.routes.append(Route("/callbacks/{token:path}", listener.answer, methods=["POST"]))
    async with (
        serving(app, listening),
        httpx.AsyncClient(base_url=base_url, trust_env=False, verify=usual_certificates(), timeout=60) as client,
    ):
        yield World(base_url, client, listener, app)


@asynccontextmanager
async def in_process(work_dir: Path, **options: Any) -> AsyncIterator[World]:
    """A sandbox without a server, for what needs nobody to reach it."""
    base_url = "http://sandbox"
    app = create_sandbox(SandboxOptions(base_url=base_url, work_dir=work_dir, **options))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base_url) as client,
    ):
        yield World(base_url, client, Listener(base_url), app)
