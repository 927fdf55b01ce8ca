"""Providers as the receiver meets them: many at once, each with its jobs, and a ledger of every answer they got."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import httpcore
import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from tests.faults.harness import AUTH, SIGNING_KEY
from tests.receiver.support import Answer, Clock, FalKeys, Host, fal_body, pause

TOKENS = TokenKeys((SIGNING_KEY,))
VIDEO = "/video.mp4"
HOOK = "/hook"
_PATIENCE_SECONDS = 0.05
_SOON_SECONDS = 60
_PACE_SECONDS = 0.02
_AT_ONCE = 16


class MachineClock(Clock):
    """The machine's time: a receiver in another process has no other."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One fact that a provider tells: the status we are to make of it, and the progress."""

    job: str
    provider: str
    status: str
    progress: int | None = None
    link: str | None = None

    @property
    def fact(self) -> tuple[str, str, int | None]:
        return self.job, self.status, self.progress

    @property
    def body(self) -> bytes:
        if self.provider == "fal":
            return fal_body(f"r-{self.job}", "OK" if self.link else "ERROR", self.link or "")
        word = {"running": "GENERATING", "succeeded": "COMPLETED"}[self.status]
        content: dict[str, object] = {"video_id": f"v-{self.job}", "replyRef": self.job, "video_status_name": word}
        if self.progress is not None:
            content["progress"] = self.progress
        return json.dumps(content | ({"url": self.link} if self.link else {})).encode()


@dataclass
class Ledger:
    """What was answered 2xx, and what got no answer at all (it is sent again, as providers do)."""

    registered: set[str] = field(default_factory=set)
    acknowledged: Counter[Report] = field(default_factory=Counter)
    turned_away: Counter[Report] = field(default_factory=Counter)
    unanswered: list[Report] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    """Why there was no answer where a connection was ended by the other side, whether it was sent again or not."""
    slowest_seconds: float = 0.0


@dataclass
class Providers:
    """All of them, and the host with their videos, fal's keys and the user's endpoint."""

    host: Host
    clip: bytes
    ledger: Ledger = field(default_factory=Ledger)
    stopping: bool = False
    try_later: Container[int] = (503,)
    """What a callback may be turned away with: behind a proxy there is more."""

    def __post_init__(self) -> None:
        self.fal = FalKeys(host=self.host, clock=MachineClock())
        self.jwks_url = self.fal.publish()
        self.link = self.host.will(VIDEO, _in_two_halves(self.clip))
        self.hook = self.host.will(HOOK, _takes_its_time())

    @property
    def settings(self) -> dict[str, str]:
        """What a receiver must be told of them."""
        return {"PROVIDERS__FAL__JWKS_URL": self.jwks_url}

    async def send(self, client: httpx.AsyncClient, report: Report) -> int | None:
        """One callback: the status of the answer, or None."""
        token = TOKENS.mint(provider=report.provider, job_id=report.job, now=datetime.now(UTC))
        headers = self.fal.headers(report.body, request_id=f"r-{report.job}") if report.provider == "fal" else {}
        started = asyncio.get_running_loop().time()
        try:
            path = f"/callbacks/{report.provider}/{token}"
            response = await client.post(path, content=report.body, headers=headers)
        except httpx.TransportError as error:
            self.ledger.unanswered.append(report)
            if not _is_our_own_doing(error):
                seconds = asyncio.get_running_loop().time() - started
                self.ledger.cut_off.append(f"{error!r} after {seconds:.1f} s, from {error.__cause__!r}")
            return None
        finally:
            seconds = asyncio.get_running_loop().time() - started
            self.ledger.slowest_seconds = max(self.ledger.slowest_seconds, seconds)
        if response.status_code == 200:
            assert response.content == b"ok"
            self.ledger.acknowledged[report] += 1
        else:
            assert response.status_code in self.try_later, response.text
            assert "retry-after" in response.headers, response.text
            self.ledger.turned_away[report] += 1
        return response.status_code

    async def send_again(self, client: httpx.AsyncClient) -> None:
        """Everything that got no answer, or was turned away with 503, as providers do: now it must soon be taken."""
        again = [*self.ledger.unanswered, *self.ledger.turned_away]
        self.ledger.unanswered.clear()
        for start in range(0, len(again), 100):
            left = again[start : start + 100]
            async with asyncio.timeout(_SOON_SECONDS):
                while left:
                    answers = await asyncio.gather(*(self.send(client, entry) for entry in left))
                    left = [entry for entry, answer in zip(left, answers, strict=True) if answer != 200]
                    await asyncio.sleep(_PATIENCE_SECONDS)
        self.ledger.unanswered.clear()

    @asynccontextmanager
    async def sending(self, client: httpx.AsyncClient) -> AsyncIterator[None]:
        """Many that send and endure while the context lasts, each with a breath in between, so that those they send to
        have room for other work; at the end what was not taken is sent again."""
        async with asyncio.TaskGroup() as senders:
            for _ in range(_AT_ONCE):
                senders.create_task(self.keep_sending(client, endures=True))
            yield
            self.stopping = True
        await self.send_again(client)

    async def keep_sending(self, client: httpx.AsyncClient, *, of_videos: float = 0.2, endures: bool = False) -> None:
        """Job after job, until the receiver is gone; that share of them ends with a video that somebody waits for.

        Who ``endures`` goes on after a moment: other receivers are there, or will be.
        """
        while not self.stopping:
            job = new_id("job")
            provider = random.choice(["useapi", "fal"])
            with_video = random.random() < of_videos
            if with_video and (status := await self._register(client, job, provider)) != 200:
                if status is None and not endures:
                    return
                await asyncio.sleep(_PATIENCE_SECONDS if endures else 0)
                continue
            for report in self._reports(job, provider, with_video=with_video):
                for _ in range(random.choice([1, 1, 2])):
                    answer = await self.send(client, report)
                    if answer is None and not endures:
                        return
                    if endures:
                        await asyncio.sleep(_PACE_SECONDS if answer == 200 else _PATIENCE_SECONDS)

    def _reports(self, job: str, provider: str, *, with_video: bool) -> list[Report]:
        if provider == "useapi":
            steps = [Report(job=job, provider=provider, status="running", progress=step) for step in (20, 40, 60)]
            end = [Report(job=job, provider=provider, status="succeeded", link=self.link)]
            return steps + (end if with_video else [])
        status = "succeeded" if with_video else "failed"
        return [Report(job=job, provider=provider, status=status, link=self.link if with_video else None)]

    async def _register(self, client: httpx.AsyncClient, job: str, provider: str) -> int | None:
        content = {"provider": provider, "notify": [{"url": self.hook}]}
        try:
            response = await client.put(f"/v1/jobs/{job}", json=content, headers=AUTH)
        except httpx.TransportError:
            return None
        if response.status_code == 200:
            self.ledger.registered.add(job)
        else:
            assert (response.status_code, "retry-after" in response.headers) == (503, True), response.text
        return response.status_code


def _is_our_own_doing(error: httpx.TransportError) -> bool:
    """Whether httpcore itself closed the connection: as idle for too long, just as it was handed to a request."""
    under_it = error.__cause__
    is_of_httpcore = isinstance(under_it, httpcore.ReadError | httpcore.WriteError)
    return is_of_httpcore and any(isinstance(why, anyio.ClosedResourceError) for why in under_it.args)


def _in_two_halves(clip: bytes) -> Answer:
    async def answer(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield clip[: len(clip) // 2]
            await pause(request, random.uniform(0, 0.2))
            yield clip[len(clip) // 2 :]

        return StreamingResponse(body(), media_type="video/mp4", headers={"content-length": str(len(clip))})

    return answer


def _takes_its_time() -> Answer:
    async def answer(request: Request) -> Response:
        await pause(request, random.uniform(0, 0.1))
        return Response(status_code=204)

    return answer
