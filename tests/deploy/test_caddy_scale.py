"""Caddy with our Caddyfile in front of two receivers on one PostgreSQL, as compose.yaml's profile `scale` has it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from replyhook.ids import new_id
from tests.deploy.test_caddy import in_front_of
from tests.deploy.tools import DEPLOY, caddy_that_retries_posts
from tests.faults.cluster import Cluster, a_cluster
from tests.faults.evidence import Evidence
from tests.faults.harness import AUTH
from tests.faults.providers import Providers, Report
from tests.receiver.support import until

CALLBACKS, CALLERS, ENOUGH = 40, 8, 150
UPSTREAMS: str = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["caddy-scale"][
    "environment"
]["REPLYHOOK_UPSTREAMS"]


@pytest.fixture
async def cluster(tmp_path: Path, postgres_url: str, providers: Providers) -> AsyncIterator[Cluster]:
    """As many receivers as compose.yaml has Caddy ask, none of which works."""
    count = len(UPSTREAMS.split())
    settings = providers.settings | {"METRICS": "true"}
    async with a_cluster(tmp_path, postgres_url, receivers=count, workers=0, **settings) as running:
        yield running


async def test_callbacks_go_to_both_and_live_events_come_through_as_they_are_whoever_streams(
    cluster: Cluster, providers: Providers
) -> None:
    async with behind_caddy(cluster) as client:
        for _ in range(CALLBACKS):
            assert await providers.send(client, a_report()) == 200
        taken = [await callbacks_of(member.url) for member in cluster.receivers]
        assert sum(taken) == CALLBACKS
        assert min(taken) >= CALLBACKS // 4
        async with AsyncExitStack() as stack, asyncio.timeout(20):
            streams = [
                await stack.enter_async_context(client.stream("GET", "/v1/stream", headers=AUTH))
                for _ in cluster.receivers
            ]
            report = a_report()
            assert await providers.send(client, report) == 200
            for stream in streams:
                await anext(line async for line in stream.aiter_lines() if report.job in line)


async def test_one_that_is_killed_takes_no_acknowledged_callback_along_and_the_other_takes_all_that_come(
    tmp_path: Path, cluster: Cluster, providers: Providers
) -> None:
    caddy_that_retries_posts()
    providers.try_later = (502, 503)
    ledger = providers.ledger
    async with behind_caddy(cluster) as client, asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(keep_calling(client, providers))
        await until(lambda: ledger.acknowledged.total() > ENOUGH, seconds=60)
        await cluster.receivers[1].kill()
        before = ledger.acknowledged.total()
        await until(lambda: ledger.acknowledged.total() > before + ENOUGH, seconds=60)
        providers.stopping = True
    lost_on_the_way = ledger.turned_away.total() + len(ledger.cut_off)  # the latter where an answer had begun
    assert lost_on_the_way <= CALLERS, "more than what was on its way into the one that was killed"
    Evidence.in_postgres(cluster.database_url, tmp_path).assert_keeps(ledger)


async def keep_calling(client: httpx.AsyncClient, providers: Providers) -> None:
    """Each callback is sent until it is taken, as providers do."""
    while not providers.stopping:
        report = a_report()
        while await providers.send(client, report) != 200:
            await asyncio.sleep(0.05)


@asynccontextmanager
async def behind_caddy(cluster: Cluster) -> AsyncIterator[httpx.AsyncClient]:
    """A client of Caddy, which has the receivers in the places that compose.yaml names."""
    places = [member.url.removeprefix("http://") for member in cluster.receivers]
    async with in_front_of(*places) as (url, _), httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


async def callbacks_of(url: str) -> int:
    """How many a receiver has taken, by its own count."""
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{url}/metrics", headers=AUTH)).text
    return sum(int(float(number)) for number in re.findall(r"^replyhook_callbacks_total\{.*\} (\S+)$", told, re.M))


def a_report() -> Report:
    return Report(job=new_id("job"), provider="useapi", status="running", progress=20)
