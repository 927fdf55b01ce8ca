"""How things went lately, in the store: the right counts, one user's alone, and reads that stay bounded."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook_receiver.stores.overview import MINUTES
from replyhook_receiver.stores.sql import overview
from tests.receiver.support import Receiver, a_host, a_receiver, useapi_body


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        yield receiver


async def a_job(receiver: Receiver, number: int, *, user: str, seconds: float) -> None:
    """One that fails after so many seconds."""
    job, path = await receiver.register(user=user)
    await receiver.submitted(job, f"video-{number}")
    receiver.clock.move(seconds=seconds)
    told = useapi_body(job, "FAILED", video_id=f"video-{number}")
    assert (await receiver.client.post(path, content=told)).status_code == 200


async def test_jobs_callbacks_and_waits_are_counted_for_everybody_and_for_one_user(receiver: Receiver) -> None:
    for number, seconds in enumerate((10, 20, 30, 400)):
        await a_job(receiver, number, user="ann" if seconds == 400 else "bob", seconds=seconds)
    await receiver.register(user="ann")
    store, now = receiver.app.state.store, receiver.clock()
    found = await store.overview.lately(user=None, now=now)
    assert (found.jobs, found.is_all, dict(found.by_status)) == (5, True, {"failed": 4, "created": 1})
    (wait,) = found.waits
    assert (wait.provider, wait.jobs, wait.p50, wait.p95) == ("useapi", 4, 30.0, 400.0)
    assert len(found.callbacks) == MINUTES
    assert sum(count or 0 for count in found.callbacks) == 4
    assert found.callbacks[-1] == 1
    anns = await store.overview.lately(user="ann", now=now)
    assert (anns.jobs, dict(anns.by_status), [wait.p50 for wait in anns.waits]) == (
        2,
        {"failed": 1, "created": 1},
        [400.0],
    )
    assert sum(count or 0 for count in anns.callbacks) == 1
    later = await store.overview.lately(user=None, now=now + timedelta(minutes=MINUTES + 1))
    assert sum(count or 0 for count in later.callbacks) == 0


async def test_an_empty_store_has_nothing_to_tell(receiver: Receiver) -> None:
    found = await receiver.app.state.store.overview.lately(user=None, now=receiver.clock())
    assert (found.jobs, found.waits, set(found.callbacks)) == (0, [], {0})


@pytest.mark.parametrize(("statement", "of_user"), [(overview._JOBS, ""), (overview._CALLBACKS, "WHERE")])
async def test_the_newest_are_found_by_their_ids_without_a_sort(
    receiver: Receiver, statement: str, of_user: str
) -> None:
    asked = statement.format(of_user=of_user).replace("?", "'cb_'")
    plan = " ".join(str(row[3]) for row in receiver.rows(f"EXPLAIN QUERY PLAN {asked}"))
    assert "TEMP B-TREE" not in plan
    assert "LEFT-JOIN" in plan or "USING INDEX sqlite_autoindex_callbacks_1 (id>?)" in plan
