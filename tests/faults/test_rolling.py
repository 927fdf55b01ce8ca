"""Receivers and workers are begun again one after another, and nobody who listens or sends loses anything by it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg

from tests.faults.cluster import a_cluster
from tests.faults.evidence import Evidence
from tests.faults.harness import AUTH
from tests.faults.providers import Providers
from tests.receiver.support import until

CUTS = 6
_CUT = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'replyhook' AND query IN (%s, 'SELECT 1')
"""
_CHANNEL = "SELECT 'replyhook_' || substr(md5(current_schema()), 1, 16)"


@dataclass
class Follower:
    """A program that follows the live stream and, wherever it is cut, goes on after the last that it has heard."""

    client: httpx.AsyncClient
    heard: list[int] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._follow())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                headers = {**AUTH, "last-event-id": str(self.heard[-1] if self.heard else 0)}
                async with self.client.stream("GET", "/v1/stream", headers=headers) as response:
                    self.connections += response.status_code == 200
                    async for line in response.aiter_lines():
                        if line.startswith("id:"):
                            self.heard.append(int(line.removeprefix("id:")))
            await asyncio.sleep(0.05)


def sequences(url: str) -> list[int]:
    """The numbers of everything that was announced."""
    with psycopg.connect(url) as raw:
        return [row[0] for row in raw.execute("SELECT sequence FROM notifications ORDER BY sequence")]


async def test_begun_again_one_after_another_nothing_is_lost_and_a_stream_that_is_taken_up_again_skips_nothing(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    ledger = providers.ledger
    async with a_cluster(tmp_path, postgres_url, changed="short-leases", **providers.settings) as cluster:
        async with cluster.client() as client, cluster.client() as stream_client:
            follower = Follower(stream_client)
            async with follower.following():
                async with providers.sending(client):
                    for member in cluster.members:
                        before = ledger.acknowledged.total()
                        await until(lambda before=before: ledger.acknowledged.total() > before + 50, seconds=60)
                        code, _ = await member.server.end()
                        assert code == 0
                        await member.start()
                await cluster.rest(seconds=60)
                await until(lambda: follower.heard[-1:] == sequences(postgres_url)[-1:], seconds=60)
        await cluster.end()
    assert ledger.turned_away.total() == 0
    assert follower.connections > 1
    assert follower.heard == sequences(postgres_url)
    evidence = Evidence.in_postgres(postgres_url, tmp_path)
    evidence.assert_keeps(ledger)
    evidence.assert_all_work_is_done(ledger, providers.host, providers.clip)
    heard = [seen[2]["webhook-id"] for seen in providers.host.seen if seen[1] == "/hook"]
    assert len(heard) == len(set(heard)), "an end in order lets what is under way come to its end"


async def test_whoever_listens_at_one_receiver_misses_nothing_of_another_though_news_of_it_are_cut(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    async with a_cluster(tmp_path, postgres_url, changed="short-leases", **providers.settings) as cluster:
        listening, taking = cluster.receivers
        async with listening.server.client() as stream_client, taking.server.client() as client:
            follower = Follower(stream_client)
            async with follower.following():
                async with providers.sending(client):
                    for _ in range(CUTS):
                        heard = len(follower.heard)
                        await until(lambda heard=heard: len(follower.heard) > heard + 10, seconds=60)
                        await asyncio.to_thread(cut_the_listeners, postgres_url, least=len(cluster.members))
                await cluster.rest(seconds=60)
                await until(lambda: follower.heard[-1:] == sequences(postgres_url)[-1:], seconds=60)
                assert (follower.heard, follower.connections) == (sequences(postgres_url), 1)
        await cluster.end()
    assert providers.ledger.cut_off == []


def cut_the_listeners(url: str, *, least: int) -> None:
    """End connections that hear of news, also such as are just being made again: ``least`` at the least."""
    cut = 0
    with psycopg.connect(url, autocommit=True) as raw:
        (channel,) = raw.execute(_CHANNEL).fetchone() or ("",)
        while cut < least:
            (found,) = raw.execute(_CUT, (f'LISTEN "{channel}"',)).fetchone() or (0,)
            cut += found
            raw.execute("SELECT pg_sleep(0.1)")
