"""Who is at work on a database: rows that come, grow silent and go."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from replyhook_receiver.doctor.kept_in_postgres import check_postgres
from replyhook_receiver.stores.postgres import PostgreSQLStore
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stores.workers import SILENT_AFTER
from tests.contracts.store.material import NOW, describe
from tests.receiver.sqlite_file import lay
from tests.receiver.work.bench import now


@pytest.fixture(params=["sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLStore]:
    made: SQLStore
    if request.param == "sqlite":
        made = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    else:
        made = PostgreSQLStore(request.getfixturevalue("postgres_url"), describe=describe)
    await made.open()
    yield made
    await made.close()


async def test_a_worker_is_seen_until_it_leaves_or_falls_silent(store: SQLStore) -> None:
    workers = store.workers
    await workers.beat("wrk_1", host="a", started_at=NOW, now=NOW)
    await workers.beat("wrk_2", host="b", started_at=NOW + timedelta(seconds=1), now=NOW)
    await workers.beat("wrk_1", host="a", started_at=NOW, now=NOW + SILENT_AFTER)
    seen = await workers.beating(now=NOW + SILENT_AFTER)
    assert [(one.id, one.host, one.started_at, one.beat_at) for one in seen] == [
        ("wrk_1", "a", NOW, NOW + SILENT_AFTER)
    ]
    await workers.leave("wrk_1")
    assert await workers.beating(now=NOW + SILENT_AFTER) == []


async def test_who_was_silent_for_a_day_is_forgotten(store: SQLStore) -> None:
    await store.workers.beat("wrk_1", host="a", started_at=NOW, now=NOW)
    await store.workers.beat("wrk_2", host="a", started_at=NOW, now=NOW + timedelta(days=2))
    rows = await store.database.read(lambda raw: raw.execute("SELECT id FROM workers").fetchall())
    assert [row["id"] for row in rows] == ["wrk_2"]


async def test_the_doctor_says_whether_anybody_is_at_work(postgres_url: str) -> None:
    def said() -> str:
        return next(one.found for one in check_postgres(postgres_url) if one.check == "workers")

    store = PostgreSQLStore(postgres_url, describe=describe)
    await store.open()
    assert "nobody does the work" in said()
    await store.workers.beat("wrk_1", host="machine-7", started_at=now(), now=now())
    assert "1 on machine-7" in said()
    await store.close()
