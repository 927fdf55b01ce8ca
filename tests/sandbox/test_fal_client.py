"""fal's own public client against the imitation of fal: unchanged, in a process of its own, sure that it talks to fal.

Its addresses are fixed, so the environment sends it through a proxy of ours that leads every host to the sandbox, and
names the authority whose certificates it is to trust. The sandbox is the usual one, behind TLS and fal's host names.
"""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
import uvicorn

from tests.sandbox.support import KEY, a_world, until

pytest.importorskip("fal_client", reason="the public fal client is not installed")

HOSTS = {"queue.fal.run": "/fal", "rest.fal.ai": "/fal-rest"}
"""fal's hosts, and where the sandbox has them."""

PROGRAM = """
import dataclasses, json, os, sys, time
import fal_client

source, reply_url, prompt = sys.argv[1:4]
told = {}
if source == "-":
    source = fal_client.upload(sys.stdin.buffer.read(), "video/mp4", "in.mp4", repository="fal")
    told["uploaded"] = source
fields = {"video_url": source, "prompt": prompt, "duration": 1, "resolution": "360p"}
try:
    job = fal_client.submit("fal-ai/pixverse/v6/extend", fields, webhook_url=reply_url)
    told["request_id"] = job.request_id
    told["statuses"] = []
    for status in job.iter_events(with_logs=True, interval=0.02):
        told["statuses"] += [type(status).__name__] if type(status).__name__ not in told["statuses"] else []
        if "cancel" in prompt and "canceled" not in told:
            job.cancel()
            told["canceled"] = True
    told["last"] = {"error": status.error, "error_type": status.error_type, "metrics": status.metrics}
    told["found"] = type(fal_client.status("fal-ai/pixverse/v6/extend", job.request_id)).__name__
    told["result"] = fal_client.result("fal-ai/pixverse/v6/extend", job.request_id)
except fal_client.FalClientHTTPError as error:
    told["refused"] = [error.status_code, str(error.message), error.error_type]
print(json.dumps(told))
"""

App = Callable[[Any, Any, Any], Awaitable[None]]


class ByHost:
    """The sandbox as fal's hosts have it: each at its root."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        host = dict(scope["headers"])[b"host"].decode()
        path = HOSTS[host] + scope["path"]
        await self._app(scope | {"path": path, "raw_path": path.encode()}, receive, send)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def fal_on_this_machine(app: App, folder: Path) -> AsyncIterator[dict[str, str]]:
    """The environment in which fal's hosts are the sandbox."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued = authority.issue_cert(*HOSTS)
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "fal.pem"))
    config = uvicorn.Config(
        ByHost(app), port=0, lifespan="off", ws="none", log_level=60, ssl_certfile=str(folder / "fal.pem"),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    carrying: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host = head.split(b" ")[1].partition(b":")[0].decode()
        assert head.startswith(b"CONNECT ")
        assert host in HOSTS, f"the client wants {host}"
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        carrying.update(asyncio.create_task(carry(*way)) for way in ((reader, to_writer), (to_reader, writer)))

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        yield {
            "FAL_KEY": KEY,
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}",
            "SSL_CERT_FILE": str(folder / "authority.pem"),
            "PATH": os.environ["PATH"],
        }
    finally:
        proxy.close()
        server.should_exit = True
        await serving
        with anyio.fail_after(60):
            await asyncio.gather(*carrying, return_exceptions=True)


@asynccontextmanager
async def fals_client(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The sandbox, and fal's client as a function of what it is to submit."""
    async with a_world(tmp_path, **options) as world, fal_on_this_machine(world.app, tmp_path) as env:

        async def drive(prompt: str = "on", video: bytes | None = None) -> dict[str, Any]:
            arguments = ["-" if video else world.source_url, f"{world.listener.url}/callbacks/fal/token", prompt]
            with anyio.fail_after(30):
                done = await anyio.run_process([sys.executable, "-c", PROGRAM, *arguments], input=video, env=env)
            told: dict[str, Any] = json.loads(done.stdout)
            return told

        yield world, drive


async def test_fals_own_client_submits_looks_and_takes_the_result(tmp_path):
    async with fals_client(tmp_path, speed=100.0) as (world, drive):
        told = await drive()
        await world.listener.until(1)
        (path, headers, body), report = world.listener.received[0], json.loads(world.listener.received[0][2])
    assert path == "/callbacks/fal/token"
    assert headers["x-fal-webhook-request-id"] == report["request_id"] == told["request_id"]
    assert told["statuses"][-1] == told["found"] == "Completed"
    assert set(told["statuses"]) <= {"Queued", "InProgress", "Completed"}
    assert told["last"]["error"] is None
    assert told["last"]["metrics"]["inference_time"] > 0
    assert told["result"] == report["payload"]
    assert body


async def test_fals_own_client_uploads_the_video_first(tmp_path):
    async with fals_client(tmp_path) as (world, drive):
        clip = (await world.client.get(world.source_url)).content
        told = await drive(video=clip)
        assert (await world.client.get(told["uploaded"])).content == clip
        assert told["result"]["video"]["content_type"] == "video/mp4"
        assert await world.calls("fal") | {"status": 0} == {
            "submit": 1, "status": 0, "upload": 1, "cancel": 0, "billed": 1
        }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "status", "words"),
    [
        ("[[refuse:403]]", 403, "Exhausted balance"),
        ("[[refuse:422]]", 422, ""),
        ("[[fault:failed]]", 422, ""),
    ],
)
async def test_fals_own_client_understands_how_it_is_refused(tmp_path, prompt, status, words):
    async with fals_client(tmp_path) as (_, drive):
        told = await drive(prompt)
    assert told["refused"][0] == status
    assert words in told["refused"][1]
    if "fault" in prompt:
        assert told["statuses"][-1] == "Completed"
        assert told["last"]["error"].startswith("Invalid status code: ")
        assert told["last"]["error_type"] == told["refused"][2]


async def test_fals_own_client_cancels(tmp_path):
    async with fals_client(tmp_path, speed=1.0) as (world, drive):
        told = await drive("cancel")
        assert told["canceled"]
        assert told["last"]["error"]
        assert (await world.calls("fal"))["billed"] == 0
