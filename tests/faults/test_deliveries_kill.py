"""`kill -9` amid deliveries, to a listener that fails every third time: each arrives, in order, none is lost."""

import asyncio
import itertools
import random
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import new_id
from replyhook_receiver.told import whole_body
from tests.faults.harness import AUTH, a_server
from tests.faults.providers import Providers, Report
from tests.receiver.support import Host, pause, until

PATHS = ("/all", "/progress-too")
TYPES = ["job.running", "job.succeeded", "video.stored"]


@dataclass(frozen=True, kw_only=True)
class Form:
    kills: int
    jobs: int


SHORT, LONG = Form(kills=10, jobs=30), Form(kills=60, jobs=200)


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    return LONG if request.config.getoption("--long-faults") else SHORT


@dataclass
class Listener:
    """The user's endpoints: every third request is refused, the others are taken after a moment."""

    host: Host
    taken: set[tuple[str, str]] = field(default_factory=set)
    """By path and webhook-id: what was answered 2xx, or was about to be."""

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self.urls = [self.host.will(path, self.answer) for path in PATHS]

    async def answer(self, request: Request) -> Response:
        number = next(self._numbers)
        await pause(request, random.uniform(0, 0.15))
        if number % 3 == 0:
            return Response(status_code=500)
        self.taken.add((request.url.path, request.headers["webhook-id"]))
        return Response(status_code=204)


async def test_every_delivery_arrives_in_order_however_often_the_receiver_is_killed(
    tmp_path: Path, providers: Providers, form: Form, capfd: pytest.CaptureFixture[str]
) -> None:
    listener, started, kills = Listener(providers.host), time.monotonic(), 0
    waiting = [new_id("job") for _ in range(form.jobs)]
    while kills < form.kills or waiting:
        async with a_server(tmp_path, changed="short-waits", **providers.settings) as server:
            async with server.client() as client:
                await providers.send_again(client)
                for _ in range(max(1, form.jobs // form.kills)):
                    if waiting:
                        await _a_whole_job(client, providers, listener, waiting.pop())
            await asyncio.sleep(random.uniform(0, 0.6))
            await server.kill()
        kills += 1
    async with a_server(tmp_path, changed="short-waits", **providers.settings) as server:
        async with server.client() as client:
            await providers.send_again(client)
        await until(lambda: not _rows(tmp_path, OPEN), seconds=90)
        await server.end()
    told = check(tmp_path, listener, jobs=form.jobs)
    if form is LONG:
        with capfd.disabled():
            print(f"{kills} kills; {told}; {time.monotonic() - started:.0f} s", file=sys.stderr)


OPEN = "SELECT kind FROM tasks WHERE state NOT IN ('done', 'dead')"
DELIVERIES = """
    SELECT d.id, d.status, d.notification, n.id AS webhook_id, n.type, n.job_id, n.body, e.url,
        (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id) AS tries,
        (SELECT count(*) FROM attempts a WHERE a.delivery_id = d.id AND ended_ms IS NULL) AS lost
    FROM deliveries d JOIN notifications n ON n.sequence = d.notification JOIN endpoints e ON e.id = d.endpoint_id
"""


def check(data_dir: Path, listener: Listener, *, jobs: int) -> str:
    """What is in the database agrees with what the listener heard; in figures."""
    rows = {(row["url"].removeprefix(listener.host.url), row["webhook_id"]): row for row in _rows(data_dir, DELIVERIES)}
    heard: Counter[tuple[str, str]] = Counter()
    order: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for _, path, headers, body in listener.host.seen:
        if path in PATHS:
            row = rows[path, headers["webhook-id"]]
            assert body == whole_body(row["body"]), "the same id came with another body"
            heard[path, headers["webhook-id"]] += 1
            order[path, row["job_id"]].append(row["notification"])
    assert len(order) == len(PATHS) * jobs
    for place, row in rows.items():
        if row["status"] == "superseded":
            assert row["type"] == "job.running"
        else:
            assert row["status"] == "delivered"
            assert place in listener.taken, "it is marked delivered and never was"
        assert heard[place] <= row["tries"], "a try is not noted"
    assert all(each == sorted(each) for each in order.values()), "one overtook another"
    for path in PATHS:
        ends = Counter(row["type"] for (at, _), row in rows.items() if at == path and row["status"] == "delivered")
        assert ends["job.succeeded"] == ends["video.stored"] == jobs, "one was lost"
    lost = sum(row["lost"] for row in rows.values())
    assert lost > 0, "no kill came upon a delivery"
    superseded = sum(row["status"] == "superseded" for row in rows.values())
    return f"{len(rows)} deliveries, {heard.total()} requests, {lost} tries cut off, {superseded} superseded, 0 lost"


async def _a_whole_job(client: httpx.AsyncClient, providers: Providers, listener: Listener, job: str) -> None:
    notify = [{"url": listener.urls[0]}, {"url": listener.urls[1], "types": TYPES}]
    registered = await client.put(f"/v1/jobs/{job}", json={"provider": "useapi", "notify": notify}, headers=AUTH)
    assert registered.status_code == 200, registered.text
    for progress in (20, 40, 60):
        await providers.send(client, Report(job=job, provider="useapi", status="running", progress=progress))
    await providers.send(client, Report(job=job, provider="useapi", status="succeeded", link=providers.link))


def _rows(data_dir: Path, statement: str) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"file:{data_dir / 'replyhook.db'}?mode=ro", uri=True)) as raw:
        raw.row_factory = sqlite3.Row
        return raw.execute(statement).fetchall()
