"""`kill -9` of receivers and workers on one PostgreSQL: what any of them answered is there, once, and is done."""

import asyncio
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster, Member, a_cluster
from tests.faults.evidence import Evidence
from tests.faults.providers import Ledger, Providers
from tests.receiver.support import until


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much is done. In the short form what a killed process held is taken over after 2 s instead of 30 s."""

    kills: int
    acknowledged: int
    changed: str | None
    rest_seconds: float
    prints: bool = False


SHORT = Form(kills=20, acknowledged=500, changed="short-leases", rest_seconds=90)
LONG = Form(kills=100, acknowledged=10_000, changed=None, rest_seconds=240, prints=True)
BEGUN_AGAIN = "SELECT count(*) FROM tasks WHERE attempts > 1 AND kind IN ('download', 'notify')"


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    return LONG if request.config.getoption("--long-faults") else SHORT


async def test_whatever_any_receiver_answered_is_kept_and_done_however_often_any_of_them_is_killed(
    tmp_path: Path, postgres_url: str, providers: Providers, form: Form, capfd: pytest.CaptureFixture[str]
) -> None:
    ledger, started = providers.ledger, time.monotonic()
    async with a_cluster(tmp_path, postgres_url, changed=form.changed, **providers.settings) as cluster:
        async with cluster.client() as client, providers.sending(client):
            async with asyncio.TaskGroup() as killers:
                for member in cluster.members:
                    killers.create_task(_keep_killing(cluster, member, ledger, form.kills))
            await until(lambda: ledger.acknowledged.total() >= form.acknowledged, seconds=300)
            again = len(ledger.unanswered)
        await cluster.rest(seconds=form.rest_seconds)
        await cluster.end()
        kills = sum(member.starts - 1 for member in cluster.members)

    evidence = Evidence.in_postgres(postgres_url, tmp_path)
    evidence.assert_keeps(ledger)
    evidence.assert_all_work_is_done(ledger, providers.host, providers.clip)
    assert again > 0, "no kill came upon a callback"
    assert evidence.begun_again("download") + evidence.begun_again("notify") > 0, "no kill came upon work"
    if form.prints:
        with capfd.disabled():
            print(
                f"{kills} kills; {ledger.acknowledged.total()} callbacks acknowledged, {again} cut off and sent again; "
                f"{len(evidence.jobs)} jobs, {evidence.events.total()} events; {len(evidence.videos)} videos, "
                f"{evidence.begun_again('download')} begun again; {len(evidence.notifications)} notifications, "
                f"{evidence.begun_again('notify')} deliveries begun again; {time.monotonic() - started:.0f} s",
                file=sys.stderr,
            )


async def _keep_killing(cluster: Cluster, member: Member, ledger: Ledger, kills: int) -> None:
    """Until there were so many, of which one at least came upon work and one upon a callback."""

    async def is_enough() -> bool:
        so_far = sum(each.starts - 1 for each in cluster.members)
        has_come_upon_both = ledger.unanswered and await asyncio.to_thread(cluster.value, BEGUN_AGAIN)
        return so_far >= kills and (bool(has_come_upon_both) or so_far >= 5 * kills)

    while not await is_enough():
        await asyncio.sleep(random.uniform(0, 1))
        await member.kill()
        await member.start()
