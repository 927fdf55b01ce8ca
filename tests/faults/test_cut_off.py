"""A worker on a host that is cut off in mid-job: another takes over, the cut-off one cannot finish, and comes back."""

import asyncio
from pathlib import Path

from tests.faults.cluster import a_cluster
from tests.faults.other_host import another_host
from tests.faults.providers import VIDEO, Providers
from tests.faults.test_stale_worker import a_job, held_until, noticed, told, works_again
from tests.receiver.postgres_server import PostgreSQLServer
from tests.receiver.support import a_host, until

STATE = "SELECT state || attempts FROM tasks WHERE kind = 'download'"


async def test_what_a_host_that_was_cut_off_had_under_way_another_does_once_and_it_is_of_use_afterwards(
    tmp_path: Path, postgres_server: PostgreSQLServer, postgres_url: str, clip: bytes
) -> None:
    async with another_host(postgres_server.port) as there, a_host(there.ours) as media:
        providers = Providers(host=media, clip=clip)
        release = asyncio.Event()
        whole = media.answers[VIDEO][0]
        media.will(VIDEO, held_until(release, whole), whole)
        allowed = {
            "ALLOWED_NETWORKS": "127.0.0.0/8,10.231.0.0/16",
            "PROVIDERS__USEAPI__MEDIA_HOSTS": there.ours,
            **providers.settings,
        }
        async with a_cluster(
            tmp_path, postgres_url, receivers=1, workers=0, changed="short-leases", **allowed
        ) as cluster:
            from_there = postgres_url.replace(
                f"127.0.0.1:{postgres_server.port}", f"{there.ours}:{there.postgres_port}"
            )
            far = await cluster.worker(at=there, DATABASE_URL=from_there, DATA_DIR=str(tmp_path / "of-the-other-host"))
            job = await a_job(cluster, providers)
            await until(lambda: media.asked(VIDEO) == 1, seconds=60)
            assert cluster.value(STATE) == "leased1"
            there.cut()
            await cluster.worker()
            await until(lambda: cluster.value(STATE) == "done2", seconds=60)
            if there.namespace:  # what passes a relay that is silent is acknowledged by it, and so nobody knows
                await until(lambda: far.has_said("cannot reach the store"), seconds=60)
            there.mend()
            release.set()
            await noticed(far)
            await until(far.server.is_ready, seconds=60)
            await cluster.rest(seconds=40)
            assert told(postgres_url)[job, "video.stored"] == 1
            await works_again(cluster, far, providers)
            await cluster.end()
