"""`replyhook db copy` of a receiver killed at work, itself killed again and again: on PostgreSQL all of it goes on."""

import asyncio
import os
import random
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import httpx

from tests.faults.cluster import a_cluster
from tests.faults.evidence import Evidence
from tests.faults.harness import AUTH, a_server
from tests.faults.providers import Providers
from tests.receiver.support import until

CUTS = 3
LAUNCHER = Path(__file__).with_name("launcher.py")


async def test_what_a_killed_receiver_has_under_way_is_done_on_the_copy_and_streams_go_on(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    ledger, data_dir = providers.ledger, tmp_path / "data"
    async with a_server(data_dir, changed="short-leases", **providers.settings) as server, server.client() as client:
        senders = [asyncio.create_task(providers.keep_sending(client, of_videos=0.5)) for _ in range(16)]
        await until(lambda: ledger.acknowledged.total() > 600, seconds=60)
        code, _, told = await copy(data_dir, postgres_url)
        assert code != 0
        assert "is served by process" in told
        await server.kill()
        await asyncio.gather(*senders)
    with closing(sqlite3.connect(data_dir / "replyhook.db")) as raw:
        (last,) = raw.execute("SELECT max(sequence) FROM notifications").fetchone()
        (open_tasks,) = raw.execute("SELECT count(*) FROM tasks WHERE state IN ('ready', 'leased')").fetchone()
    assert open_tasks > 0

    cut = [await copy(data_dir, postgres_url, killed_after=random.randint(2, 15)) for _ in range(CUTS)]
    assert {code for code, _, _ in cut} == {-9}, "a copy was over before it was cut"
    code, checked, told = await copy(data_dir, postgres_url)
    assert code == 0, told
    assert re.search(r"^jobs\t\d+\t[0-9a-f]{64}$", checked, re.MULTILINE)

    async with a_cluster(data_dir, postgres_url, changed="short-leases", **providers.settings) as cluster:
        async with cluster.client() as client:
            sequences = asyncio.create_task(_following(client, after=last, count=3))
            await providers.send_again(client)
            assert await sequences == [last + 1, last + 2, last + 3]
        await cluster.rest(seconds=60)
        await cluster.end()
    evidence = Evidence.in_postgres(postgres_url, data_dir)
    evidence.assert_keeps(ledger)
    evidence.assert_all_work_is_done(ledger, providers.host, providers.clip)


async def copy(data_dir: Path, url: str, *, killed_after: int | None = None) -> tuple[int | None, str, str]:
    """Run the command; the exit code, and what it said. Killed after so many lines of its progress."""
    named = data_dir.parent / "url"
    named.write_text(url)
    program = ["-m", "replyhook_receiver"] if killed_after is None else [str(LAUNCHER), "slow-copy"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, "db", "copy",
        "--without-hold", "--from", f"sqlite:///{data_dir / 'replyhook.db'}", "--to", f"@{named}",
        env=dict(os.environ), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    if killed_after is not None:
        for _ in range(killed_after):
            await process.stderr.readline()
        process.kill()
    out, told = await process.communicate()
    return process.returncode, out.decode(), told.decode()


async def _following(client: httpx.AsyncClient, *, after: int, count: int) -> list[int]:
    """The numbers of the next so many events on the live stream."""
    found: list[int] = []
    headers = {**AUTH, "last-event-id": str(after)}
    async with client.stream("GET", "/v1/stream", headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("id:"):
                found.append(int(line.removeprefix("id:")))
                if len(found) == count:
                    return found
    return found
