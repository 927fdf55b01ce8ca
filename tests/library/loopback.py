"""A receiver and its providers, imitated over real HTTP on loopback, for the clients to talk to."""

import asyncio
import base64
import gzip
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 2048
ACCEPTED_ID = "r-1"

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class World:
    """What was asked of the imitation, and what it answers."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """Answers by the beginning of ``METHOD /path``, in turn; the last one stays."""
    open_streams: int = 0
    keeps_bodies: bool = True
    """Else only each one's length is kept, as text, and no more than a piece of it is in memory at a time."""

    def to(self, start: str) -> list[Seen]:
        """What arrived whose ``METHOD /path`` begins so."""
        return [seen for seen in self.seen if f"{seen.method} {seen.path}".startswith(start)]

    def will_answer(self, start: str, *answers: Answer) -> None:
        """Answer so what begins with ``start``: the first answer first."""
        self.answers[start] = list(answers)

    async def serve(self, request: Request) -> Response:
        self.seen.append(
            Seen(
                method=request.method,
                path=request.url.path,
                query=dict(request.query_params),
                headers=dict(request.headers),
                body=await request.body() if self.keeps_bodies else await _length(request),
            )
        )
        line = f"{request.method} {request.url.path}"
        start = max((start for start in self.answers if line.startswith(start)), key=len)
        waiting = self.answers[start]
        return await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(request)

    def streams(self, *scripts: Callable[[], AsyncIterator[str]]) -> None:
        """Play one script for each stream that is opened; the last one again and again."""

        async def counted(script: Callable[[], AsyncIterator[str]]) -> AsyncIterator[str]:
            self.open_streams += 1
            try:
                async for chunk in script():
                    yield chunk
            finally:
                self.open_streams -= 1

        def answer(script: Callable[[], AsyncIterator[str]]) -> Answer:
            async def stream(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
                return StreamingResponse(counted(script), media_type="text/event-stream")

            return stream

        self.will_answer("GET /v1/stream", *[answer(script) for script in scripts])


async def _length(request: Request) -> bytes:
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
    return str(length).encode()


def says(status: int, content: object = None, **headers: str) -> Answer:
    """Answer this."""

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return JSONResponse(content, status_code=status, headers=named)

    return answer


def sends_on(url: str, **headers: str) -> Answer:
    """Redirect to ``url``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
        return RedirectResponse(url, status_code=307, headers=named)

    return answer


def late(answer: Answer, seconds: float) -> Answer:
    """Answer only after a while."""

    async def wait(request: Request) -> Response:
        await asyncio.sleep(seconds)
        return await answer(request)

    return wait


def file(
    content: bytes = VIDEO, *, digest_of: bytes | None = None, cut_after: int | None = None, status: int = 200
) -> Answer:
    """Answer with a stored video; ``cut_after`` hangs up in the middle of it."""
    digest = base64.b64encode(hashlib.sha256(content if digest_of is None else digest_of).digest()).decode()
    headers = {"content-length": str(len(content)), "repr-digest": f"sha-256=:{digest}:"}

    async def body() -> AsyncIterator[bytes]:
        yield content[:cut_after]
        if cut_after is not None:
            raise ConnectionResetError("cut off on purpose")

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
        return StreamingResponse(body(), status_code=status, headers=headers, media_type="video/mp4")

    return answer


def squeezed(content: bytes = VIDEO) -> Answer:
    """Answer as a compressing proxy does where the client allows it."""

    async def answer(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(gzip.compress(content), headers={"content-encoding": "gzip"}, media_type="video/mp4")
        return Response(content, media_type="video/mp4")

    return answer


def trickles(seconds: float) -> Answer:
    """Answer a little at a time, never silent for long."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(int(seconds / 0.05)):
            yield b" "
            await asyncio.sleep(0.05)

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
        return StreamingResponse(body(), media_type="application/json")

    return answer


def hangs_up() -> Answer:
    """Take the request, begin an answer, and close the connection."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"request'
        raise ConnectionResetError("cut off on purpose")

    async def answer(request: Request) -> Response:  # noqa: ARG001 - an answer is given the request
        return StreamingResponse(body(), media_type="application/json")

    return answer


def event(cursor: int, kind: str, **values: Any) -> str:
    """One notification as the receiver's stream carries it."""
    content = {"type": kind, "timestamp": "2026-11-21T12:00:00Z", "data": values}
    return f"id: {cursor}\nevent: {kind}\ndata: {json.dumps(content)}\n\n"


PING = ": ping\n\n"


def script(
    *chunks: str,
    past: Sequence[str] = (),
    present: Mapping[str, Any] | None = None,
    then: str = "end",
    seconds: float = 3.0,
) -> Callable[[], AsyncIterator[str]]:
    """A stream of the ``past``, the job as it is at present, and ``chunks``; afterwards it ends, is cut off, or pings
    for a while."""
    told = {"type": "job.snapshot", "timestamp": "2026-11-21T12:00:00Z", "data": present or {"status": "running"}}

    async def play() -> AsyncIterator[str]:
        for chunk in past:
            yield chunk
        yield f"event: job.snapshot\ndata: {json.dumps(told)}\n\n"
        for chunk in chunks:
            yield chunk
        if then == "cut":
            raise ConnectionResetError("cut off on purpose")
        if then == "ping":
            for _ in range(int(seconds / 0.05)):
                yield PING
                await asyncio.sleep(0.05)

    return play


@contextmanager
def loopback() -> Iterator[Callable[[], World]]:
    """Serve on a free port from a thread; what is yielded makes a fresh world there."""
    worlds: list[World] = []

    async def serve(request: Request) -> Response:
        return await worlds[-1].serve(request)

    routes = [Route("/{path:path}", serve, methods=["GET", "PUT", "POST", "DELETE"])]
    config = uvicorn.Config(
        Starlette(routes=routes), log_level=60, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()

        def fresh() -> World:
            world = World(url=f"http://127.0.0.1:{port}")
            accepted = {"request_id": ACCEPTED_ID, "video_id": ACCEPTED_ID}
            upload = {"upload_url": f"{world.url}/put", "file_url": "https://f.example/1", "path": "p/1.mp4"}
            world.will_answer("PUT /v1/jobs/", says(201, {"reply_url": f"{world.url}/callbacks/fal/to.ken"}))
            world.will_answer("POST /v1/jobs/", says(200, {}))
            world.will_answer("GET /v1/jobs/", file())
            world.will_answer("POST /fal/", says(200, accepted))
            world.will_answer("POST /rest/", says(200, upload))
            world.will_answer("PUT /put", says(200))
            world.will_answer("POST /useapi/videos/", says(200, accepted))
            world.will_answer("POST /useapi/files/", says(200, upload))
            world.will_answer("POST /aihubmax/v1/videos/", says(200, {"id": ACCEPTED_ID}))
            world.will_answer("POST /aihubmax/v1/files/", says(200, {"url": "https://f.example/1"}))
            resp = {"video_id": 77, "media_id": 66}
            world.will_answer("POST /pixverse/", says(200, {"ErrCode": 0, "ErrMsg": "Success", "Resp": resp}))
            world.will_answer("POST /segmind/upload-asset", says(200, {"file_urls": ["https://f.example/1"]}))
            world.will_answer("GET /", file())
            world.streams(script(event(1, "job.running"), event(2, "video.stored", id="job")))
            worlds.append(world)
            return world

        yield fresh
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()
