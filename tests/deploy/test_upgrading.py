"""Upgrading several processes, as deploy/README.md has it: what an older one does once the schema is newer."""

import re
from pathlib import Path

import psycopg
import pytest

from replyhook.ids import new_id
from tests.deploy.test_readme import README
from tests.faults.cluster import a_cluster
from tests.faults.providers import Providers, Report


async def test_a_receiver_of_an_older_release_takes_callbacks_until_it_ends_and_is_not_begun_again(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    async with a_cluster(tmp_path, postgres_url, receivers=1, workers=0, **providers.settings) as cluster:
        change_step(postgres_url, by=1)
        try:
            async with cluster.client() as client:
                report = Report(job=new_id("job"), provider="useapi", status="running", progress=20)
                assert await providers.send(client, report) == 200
            (receiver,) = cluster.receivers
            assert (await receiver.server.end())[0] == 0
            with pytest.raises(AssertionError, match="from a newer replyhook"):
                await receiver.start()
        finally:
            change_step(postgres_url, by=-1)


def change_step(url: str, *, by: int) -> None:
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("UPDATE replyhook_schema SET step = step + %s", (by,))


def test_workers_stop_first_and_are_the_last_to_start() -> None:
    upgrading = re.split(r"^## ", README.partition("\n## Upgrading\n")[2], flags=re.MULTILINE)[0]
    compose, kubernetes = (
        block for block in re.findall(r"^```sh\n(.*?)^```", upgrading, re.M | re.S) if "worker" in block
    )
    assert re.search(
        r"stop worker-1 worker-2\n.*db migrate\n.*in receiver-1 receiver-2 worker-1 worker-2;", compose, re.S
    )
    assert re.search(r"replyhook-worker --replicas=0\n.*/replyhook-receiver .*\n.*apply --kustomize", kubernetes, re.S)
