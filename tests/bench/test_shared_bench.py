"""`replyhook bench ingest --database`, and the rows that it copies: everything is counted, and nothing left behind."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest

from replyhook_receiver.bench import growth
from replyhook_receiver.bench.engine_ours import store_at
from replyhook_receiver.bench.engine_tasks import looking
from replyhook_receiver.bench.postgres import Postgres
from replyhook_receiver.bench.stored import new_report
from tests.bench.test_ingest_bench import bench
from tests.receiver.conftest import postgres_server, postgres_url
from tests.receiver.postgres_server import PostgreSQLServer

__all__ = ["postgres_server", "postgres_url"]


@pytest.fixture
async def told(postgres_url: str) -> AsyncIterator[str]:
    async with store_at(postgres_url) as store:
        for _ in range(5):
            await store.accept(new_report(datetime.now(UTC)))
    return postgres_url


def counts(connection: "psycopg.Connection[tuple[int, ...]]") -> dict[str, int]:
    found = {}
    for table in growth.TABLES:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608 - ours
        found[table] = 0 if row is None else row[0]
    return found


async def test_finished_jobs_are_made_by_the_many_with_all_their_rows(told: str) -> None:
    with looking(told) as connection:
        before = counts(connection)
        assert growth.multiply(connection, 50) == 50
        assert counts(connection) == {table: count * 10 for table, count in before.items()}
        unfinished = connection.execute("SELECT count(*) FROM tasks WHERE state = 'ready'").fetchone()
        assert unfinished == (5,), "what is made is finished: nobody works on it"


async def test_the_same_rows_are_inserted_again_whole(told: str) -> None:
    with looking(told) as connection:
        before = counts(connection)
        assert growth.set_aside(connection) == 5
        assert set(counts(connection).values()) == {0}
        assert growth.insert_again(connection, 5, 2) > 0
        assert counts(connection) == before


async def test_receivers_on_one_postgresql_are_measured_and_what_was_made_there_is_removed(
    postgres_server: PostgreSQLServer,
) -> None:
    code, said, told = await bench("--json", "--database", postgres_server.url(), "--receivers", "1,2", "--rounds", "1")
    assert code == 0, told
    result = json.loads(said)
    assert [case["receivers"] for case in result["cases"]] == [1, 2]
    assert all(case["requests_per_s"] > 0 and case["postgres_us"] >= 0 for case in result["cases"])  # in ticks of 10 ms
    assert result["one_to_limit"] > 0
    with psycopg.connect(postgres_server.url()) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'replyhook_bench%'").fetchall()
    assert left == []


def test_a_database_of_the_bench_keeps_its_password_to_itself() -> None:
    given = Postgres(url="postgresql://me:geheim@127.0.0.1:1/postgres?connect_timeout=1")
    assert "geheim" not in repr(given)
    assert given._url_of("other") == "postgresql://me:geheim@127.0.0.1:1/other?connect_timeout=1"
