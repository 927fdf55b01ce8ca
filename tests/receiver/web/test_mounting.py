"""The receiver mounted in somebody's Starlette or FastAPI application, as the README has it, on a uvicorn of theirs."""

import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from replyhook import Client
from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook_receiver import create_app, receiver_lifespan
from replyhook_receiver.stores.sqlite.serving_lock import holder_of
from tests.receiver.support import AUTH, SECRETS, callback_path, settings_for
from tests.stage import CLEAN, KEY, free_port, running, wait_for
from tests.test_quick_start import a_listener, example

WHOSE = """
import logging
from starlette.responses import PlainTextResponse

class Stamp:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-theirs", b"1")]}
            await send(message)
        await self.app(scope, receive, stamped)

async def hello(request):
    handlers = [type(each).__name__ for each in logging.getLogger().handlers]
    return PlainTextResponse(f"theirs {logging.getLogger().level} {handlers}")

async def broken(request): raise ZeroDivisionError
async def on_theirs(request, error): return PlainTextResponse("their handler", status_code=418)

app.add_middleware(Stamp)
app.add_route("/hello", hello)
app.add_route("/broken", broken)
app.add_exception_handler(ZeroDivisionError, on_theirs)
"""
"""What else their application has."""


@dataclass(kw_only=True)
class Theirs:
    """Their application, running."""

    url: str
    sandbox_url: str
    env: dict[str, str] = field(repr=False)
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        try:
            with urlopen(Request(self.url + path, headers=headers), timeout=10) as answer:  # noqa: S310 - loopback
                return answer.status, dict(answer.headers), answer.read().decode()
        except HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()


@contextmanager
def mounted(folder: Path, program: str) -> Iterator[Theirs]:
    """Their application on uvicorn as one starts it, access log and all; and the imitation providers."""
    sandbox_port, port = free_port(), free_port()
    (folder / "theirs.py").write_text(program + WHOSE)
    exports, log = folder / "sandbox.env", folder / "theirs.log"
    sandbox = running("sandbox", "--port", str(sandbox_port), "--speed", "60", env=CLEAN, cwd=folder, output=exports)
    with sandbox as providers, log.open("ab") as file:
        wait_for(f"http://127.0.0.1:{sandbox_port}/_sandbox/calls", providers)
        env = CLEAN | dict(re.findall(r"^export (\w+)=(.*)$", exports.read_text(), flags=re.MULTILINE))
        url = f"http://127.0.0.1:{port}"
        env |= {"REPLYHOOK_API_KEY": KEY, "REPLYHOOK_RECEIVER_URL": f"{url}/hooks"}
        ours = {"REPLYHOOK_API_KEYS": KEY, "REPLYHOOK_PUBLIC_URL": f"{url}/hooks"}
        serve = [sys.executable, "-m", "uvicorn", "theirs:app", "--port", str(port)]
        process = subprocess.Popen(
            [*serve, "--timeout-graceful-shutdown", "3"], env=env | ours, cwd=folder, stdout=file, stderr=file
        )
        try:
            wait_for(f"{url}/hello", process)
            yield Theirs(url=url, sandbox_url=f"http://127.0.0.1:{sandbox_port}", env=env, log=log, process=process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)


@pytest.mark.parametrize("framework", ["Starlette", "FastAPI"])
def test_a_job_goes_from_submit_to_notification_through_a_mounted_receiver(tmp_path: Path, framework: str) -> None:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    with mounted(tmp_path, example(f"mounted in {framework}")) as theirs, a_listener() as (place, taken):
        with Client.from_env(theirs.env) as client:
            job = client.submit(
                provider="useapi", video=f"{theirs.sandbox_url}/_sandbox/source.mp4?seconds=1", prompt="on",
                quality="360p", notify=[place],
            )  # fmt: skip
            told = [event.type for event in job.events()]
            job.wait(timeout=30)
            job.download(tmp_path / "out.mp4")
            link = str(job.result().video.url)
        assert told[-1] == "video.stored"
        assert link.startswith(f"{theirs.url}/hooks/videos/")
        assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"
        deadline = time.monotonic() + 20
        while not any('"video.stored"' in body and f"{theirs.url}/hooks/videos/" in body for body in taken):
            assert time.monotonic() < deadline, "their endpoint was not told"
            time.sleep(0.05)
        with urlopen(link) as video:  # noqa: S310 - loopback: the link, without a key
            assert video.read(12)[4:8] == b"ftyp"
        key = {"authorization": f"Bearer {KEY}"}
        asked = Request(  # noqa: S310
            f"{theirs.url}/hooks/v1/stream/links", b"{}", {**key, "content-type": "application/json"}, method="POST"
        )
        with urlopen(asked) as made:  # noqa: S310
            stream = json.load(made)["url"]
        assert stream.startswith(f"{theirs.url}/hooks/streams/")
        with urlopen(stream) as opened:  # noqa: S310
            assert opened.headers["content-type"].startswith("text/event-stream")
        status, _, body = theirs.get(f"/hooks/v1/callbacks?job={job.id}", **key)
        assert (status, json.loads(body)["data"][0]["verdict"]) == (200, "applied")
        assert theirs.get("/hooks/readyz")[0] == 200
        assert theirs.get("/hooks/callbacks/fal/wrong")[0] == 405
        status, headers, body = theirs.get("/hooks/v1/nowhere", **key)
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert theirs.get("/v1/jobs")[0] == 404
        assert theirs.get("/hooks/healthz")[1]["x-theirs"] == "1"
        assert theirs.get("/broken")[::2] == (418, "their handler")
        assert theirs.get("/hello")[2] == "theirs 30 []"
    assert theirs.process.returncode in (0, 130, -signal.SIGINT)
    written = theirs.log.read_text()
    assert 'POST /hooks/callbacks/{provider}/{token} HTTP/1.1" 200'.replace("{", "%7B").replace("}", "%7D") in written
    assert link.rpartition("/")[2] not in written
    assert not re.search(r"/(callbacks/\w+|videos|streams)/[^%\s]", written.replace("/callbacks/fal/wrong", ""))
    assert "Traceback" not in written


async def test_a_mounted_receiver_that_was_not_started_answers_503_and_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Starlette(routes=[Mount("/hooks", app=create_app(settings_for(tmp_path), secrets=SECRETS))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://theirs") as client:
        asked = [
            await client.get("/hooks/v1/jobs", headers=AUTH),
            await client.get("/hooks/readyz"),
            await client.post(f"/hooks{callback_path('useapi', new_id('job'))}", content=b"{}"),
        ]
    for answer in asked:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "receiver_lifespan(app)" in answer.json()["detail"]
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "receiver_lifespan(app)" in said.getMessage()


async def test_a_prefix_that_public_url_does_not_have_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for public_url, warned in (("https://x.example", 1), ("https://x.example/outer/hooks", 0)):
        caplog.clear()
        receiver = create_app(settings_for(tmp_path, public_url=public_url), secrets=SECRETS)
        app = Starlette(routes=[Mount("/hooks", app=receiver)])
        async with (
            receiver_lifespan(receiver),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://theirs") as client,
        ):
            for _ in range(2):
                assert (await client.get("/hooks/healthz")).status_code == 200
        assert sum("REPLYHOOK_PUBLIC_URL" in record.getMessage() for record in caplog.records) == warned


async def test_a_lifespan_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    receiver = create_app(settings_for(tmp_path), secrets=SECRETS)
    database = settings_for(tmp_path).database_path
    with pytest.raises(ConfigurationError, match=r"not the application it is mounted in"):
        await _entered(Starlette())
    with pytest.raises(ConfigurationError, match="REPLYHOOK_PUBLIC_URL"):
        await _entered(create_app(settings_for(tmp_path / "other", public_url=""), secrets=SECRETS))
    async with receiver_lifespan(receiver):
        holder = holder_of(database)
        assert holder is not None
        assert holder.url == settings_for(tmp_path).public_url
        with pytest.raises(ConfigurationError, match="running already"):
            await _entered(receiver)
        with pytest.raises(ConfigurationError, match="served already by process"):
            await _entered(create_app(settings_for(tmp_path), secrets=SECRETS))
    assert holder_of(database) is None


async def _entered(app: Starlette) -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette):  # type: ignore[no-untyped-def] # as an application writes it
        async with receiver_lifespan(app):
            yield

    async with lifespan(app):
        raise AssertionError("it was started")
