"""A worker that stands still for longer than its lease: another takes its work, and it cannot finish what it lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import Response

pytest.importorskip("av", reason="the sandbox makes real videos")

from replyhook.ids import new_id
from tests.faults.cluster import Cluster, Member, a_cluster
from tests.faults.harness import AUTH
from tests.faults.providers import HOOK, VIDEO, Providers, Report
from tests.faults.relayed import PROMPTS, Sandbox, a_sandbox, relay, shown
from tests.receiver.support import Answer, pause, until

LOST = "another worker has it"


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with a_sandbox(tmp_path / "sandbox") as running:
        yield running


async def a_job(cluster: Cluster, providers: Providers) -> str:
    """One whose callback has been taken, and whose end somebody waits for."""
    job = new_id("job")
    async with cluster.client() as client:
        content = {"provider": "useapi", "notify": [{"url": providers.hook, "types": ["video.stored"]}]}
        assert (await client.put(f"/v1/jobs/{job}", json=content, headers=AUTH)).status_code == 200
        report = Report(job=job, provider="useapi", status="succeeded", link=providers.link)
        assert await providers.send(client, report) == 200
    return job


def held_until(release: asyncio.Event, answer: Answer) -> Answer:
    """The answer, but not before ``release``."""

    async def answers(request: Request) -> Response:
        while not release.is_set() and not request.scope["host.closing"].is_set():
            await pause(request, 0.05)
        return await answer(request)

    return answers


async def stood_still(cluster: Cluster, member: Member, job: str, kind: str) -> None:
    """Stop ``member`` in the middle, until another has begun its task and ended it; then let it go on."""
    state = f"SELECT state || attempts FROM tasks WHERE kind = '{kind}' AND subject {subject_of(job, kind)}"  # noqa: S608
    assert cluster.value(state) == "leased1"
    member.server.signal(signal.SIGSTOP)
    await cluster.worker(DATA_DIR=str(cluster.folder / "of-another-host"))
    await until(lambda: cluster.value(state) == "done2", seconds=60)
    member.server.signal(signal.SIGCONT)


async def noticed(member: Member) -> None:
    """Wait until it says that it has lost its work."""
    try:
        await until(lambda: member.has_said(LOST), seconds=60)
    except TimeoutError:
        pytest.fail(f"it does not know that it lost its work: {member.log}")


def subject_of(job: str, kind: str) -> str:
    own = f"= '{job}'"
    of_delivery = "SELECT d.id FROM deliveries d JOIN notifications n ON n.sequence = d.notification WHERE n.job_id"
    return f"IN ({of_delivery} {own})" if kind == "notify" else own


async def works_again(cluster: Cluster, member: Member, providers: Providers) -> None:
    """Whoever lost its work is of use afterwards, all alone."""
    (other,) = [each for each in cluster.workers if each is not member]
    await other.server.end()
    job = await a_job(cluster, providers)
    await until(lambda: is_stored(cluster, job), seconds=60)


async def is_stored(cluster: Cluster, job: str) -> bool:
    shows = await shown(cluster.receivers[0].server, job)
    return bool(shows["video"] and shows["video"]["status"] == "stored")


def told(url: str) -> Counter[tuple[str, str]]:
    """How often each thing was announced of each job."""
    with psycopg.connect(url) as raw:
        return Counter(raw.execute("SELECT job_id, type FROM notifications").fetchall())


async def test_a_download_that_was_taken_over_is_not_finished_by_who_had_it_before(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    release = asyncio.Event()
    whole = providers.host.answers[VIDEO][0]
    providers.host.will(VIDEO, held_until(release, whole), whole)
    async with a_cluster(
        tmp_path, postgres_url, receivers=1, workers=1, changed="short-leases", **providers.settings
    ) as cluster:
        (stale,) = cluster.workers
        job = await a_job(cluster, providers)
        await until(lambda: providers.host.asked(VIDEO) == 1, seconds=60)
        await stood_still(cluster, stale, job, "download")
        release.set()
        await noticed(stale)
        await cluster.rest(seconds=30)
        assert told(postgres_url)[job, "video.stored"] == 1
        assert providers.host.asked(VIDEO) == 2
        await works_again(cluster, stale, providers)


async def test_a_delivery_that_was_taken_over_is_told_twice_by_the_same_id_and_noted_once(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    release = asyncio.Event()
    taken = providers.host.answers[HOOK][0]
    providers.host.will(HOOK, held_until(release, taken), taken)
    async with a_cluster(
        tmp_path, postgres_url, receivers=1, workers=1, changed="short-leases", **providers.settings
    ) as cluster:
        (stale,) = cluster.workers
        job = await a_job(cluster, providers)
        await until(lambda: providers.host.asked(HOOK) == 1, seconds=60)
        await stood_still(cluster, stale, job, "notify")
        delivered = cluster.value("SELECT delivered_ms FROM deliveries")
        release.set()
        await noticed(stale)
        await cluster.rest(seconds=30)
        heard = [seen[2]["webhook-id"] for seen in providers.host.seen if seen[1] == HOOK]
        assert len(heard) == 2
        assert len(set(heard)) == 1
        assert cluster.value("SELECT delivered_ms FROM deliveries") == delivered
        await works_again(cluster, stale, providers)


async def test_a_paid_submit_is_never_sent_twice_and_its_late_answer_is_still_worth_having(
    tmp_path: Path, postgres_url: str, sandbox: Sandbox
) -> None:
    async with a_cluster(
        tmp_path, postgres_url, receivers=1, workers=0, changed="short-leases", **sandbox.settings
    ) as cluster:
        (receiver,) = cluster.receivers
        stale = await cluster.worker(PUBLIC_URL=receiver.url)
        jobs = [await relay(receiver.server, sandbox, provider) for provider in PROMPTS]
        await until(lambda: sandbox.all_have("submit"), seconds=60)
        stale.server.signal(signal.SIGSTOP)
        await cluster.worker(PUBLIC_URL=receiver.url, DATA_DIR=str(tmp_path / "of-another-host"))
        settled = "SELECT count(*) FROM jobs WHERE submission IS NOT NULL"
        await until(lambda: cluster.value(settled) == len(jobs), seconds=60)
        unknown = "SELECT count(*) FROM jobs WHERE submission = 'unknown'"
        assert cluster.value(unknown) > 0, "nobody took a submit over"
        stale.server.signal(signal.SIGCONT)
        for job in jobs:
            await until(lambda job=job: is_stored(cluster, job), seconds=60)
        await cluster.rest(seconds=30)
        for provider in PROMPTS:
            calls = await sandbox.calls(provider)
            assert (calls["submit"], calls["billed"]) == (1, 1)
        announced = told(postgres_url)
        assert {announced[job, "video.stored"] for job in jobs} == {1}
