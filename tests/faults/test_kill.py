"""`kill -9` at any moment: whatever was answered 2xx is there afterwards, once."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys

ROUNDS = 3
PROVIDERS_AT_ONCE = 16
REPORTS_PER_JOB = 4
API_KEY = "rhk_kill-0123456789-0123456789"
SIGNING_KEY = "kill-signing-0123456789-0123456789"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")} | {
    "REPLYHOOK_SIGNING_KEYS": SIGNING_KEY,
    "REPLYHOOK_API_KEYS": API_KEY,
    "REPLYHOOK_LOG_LEVEL": "warning",
}
TOKENS = TokenKeys((SIGNING_KEY,))


@dataclass
class Server:
    """A receiver in a process of its own."""

    process: asyncio.subprocess.Process
    url: str

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@asynccontextmanager
async def a_server(data_dir: Path) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "replyhook_receiver", "serve", "--port", "0", "--data-dir", str(data_dir),
        env=ENVIRONMENT, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(10):
            line = (await process.stderr.readline()).decode()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, line + (await process.stderr.read()).decode()
            server = Server(process=process, url=found[0])
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
                while not await _is_ready(client):
                    await asyncio.sleep(0.02)
        yield server
    finally:
        await Server(process=process, url="").kill()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Sent:
    """What was sent, as (job, progress): answered 2xx, or with no answer at all."""

    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    unanswered: list[tuple[str, int]] = field(default_factory=list)

    async def send(self, client: httpx.AsyncClient, job: str, progress: int) -> bool:
        token = TOKENS.mint(provider="useapi", job_id=job, now=datetime.now(UTC))
        content = {"video_id": f"v-{job}", "replyRef": job, "video_status_name": "GENERATING", "progress": progress}
        try:
            response = await client.post(f"/callbacks/useapi/{token}", content=json.dumps(content))
        except httpx.TransportError:
            self.unanswered.append((job, progress))
            return False
        assert (response.status_code, response.content) == (200, b"ok")
        self.answered[job, progress] += 1
        return True

    async def keep_sending(self, client: httpx.AsyncClient) -> None:
        """Reports about one job after another, every one of them twice, until the receiver is gone."""
        while True:
            job = new_id("job")
            for progress in range(1, REPORTS_PER_JOB + 1):
                for _ in range(2):
                    if not await self.send(client, job, progress):
                        return


async def test_everything_answered_before_a_kill_is_there_after_it_and_applied_once(tmp_path: Path) -> None:
    sent, chance = Sent(), random.Random()
    for _ in range(ROUNDS):
        async with a_server(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            # As a provider does: what was not answered is sent again.
            again, sent.unanswered = sent.unanswered, []
            for job, progress in again:
                assert await sent.send(client, job, progress)
            before = sent.answered.total()
            senders = [asyncio.create_task(sent.keep_sending(client)) for _ in range(PROVIDERS_AT_ONCE)]
            await asyncio.sleep(chance.uniform(0.2, 0.7))
            await server.kill()
            async with asyncio.timeout(10):
                await asyncio.gather(*senders)
            assert sent.answered.total() > before + 20, "hardly anything was under way"
    async with a_server(tmp_path):
        pass  # it opens, after the last kill too

    with closing(sqlite3.connect(tmp_path / "replyhook.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        events = Counter(raw.execute("SELECT job_id, progress FROM events WHERE verdict = 'applied'").fetchall())
        jobs = dict(raw.execute("SELECT id, progress FROM jobs").fetchall())
        statuses = raw.execute("SELECT DISTINCT status FROM jobs").fetchall()
        announced = Counter(row[0] for row in raw.execute("SELECT job_id FROM notifications"))
        callbacks = Counter(row[0] for row in raw.execute("SELECT body FROM callbacks"))
    kept = Counter(dict.fromkeys(events, 0))
    for body, times in callbacks.items():
        content = json.loads(body)
        kept[content["replyRef"], content["progress"]] += times
    assert set(sent.answered) <= set(events), "an answered callback has no event"
    assert set(events.values()) == {1}, "a fact was applied twice"
    assert all(kept[fact] >= times for fact, times in sent.answered.items()), "an answered callback is not kept"
    assert all(jobs[job] >= progress for job, progress in sent.answered), "an answered callback changed no job"
    assert statuses == [("running",)]
    assert announced == Counter(job for job, _ in events), "a fact was announced not exactly once"


async def test_a_polite_end_is_quick_even_with_a_listener_on_the_stream(tmp_path: Path) -> None:
    headers = {"authorization": f"Bearer {API_KEY}"}
    async with a_server(tmp_path) as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        async with client.stream("GET", "/v1/stream", headers=headers) as response:
            assert response.status_code == 200
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(httpx.TransportError):
                async for _ in response.aiter_bytes():
                    pass
            async with asyncio.timeout(12):
                await server.process.wait()
        assert time.monotonic() - started < 3
