"""The tests' own: a PostgreSQL database that a test gave back is as new for the next, or is not given to it."""

from contextlib import closing

import psycopg
import pytest

from replyhook_receiver.stores.postgres import PostgreSQLStore
from tests.contracts.store.material import a_job, describe, report, running
from tests.receiver.postgres_server import PostgreSQLServer


async def test_rows_are_gone_and_counting_begins_anew(postgres_server: PostgreSQLServer) -> None:
    url = postgres_server.new_store()
    for _ in range(2):
        store = PostgreSQLStore(url, describe=describe)
        await store.open()
        for number in range(3):
            await store.accept(report(a_job(number), running(5, f"r-{number}")))
        assert [each.sequence for each in await store.notifications(after=0)] == [1, 2, 3]
        rows = await store.database.read(lambda raw: raw.execute("SELECT rowid FROM callbacks ORDER BY 1").fetchall())
        await store.close()
        assert [row["rowid"] for row in rows] == [1, 2, 3]
        postgres_server.drop(url)
        assert postgres_server.new_store() == url
    postgres_server.drop(url)


@pytest.mark.parametrize(
    "change",
    [
        b"ALTER TABLE jobs ADD COLUMN odd BIGINT",
        b"DROP INDEX jobs_by_user",
        b"ALTER TABLE tasks ALTER COLUMN again DROP NOT NULL",
        b"CREATE TABLE callback_bodies_x PARTITION OF callback_bodies FOR VALUES FROM ('a') TO ('b')",
        b"CREATE OR REPLACE FUNCTION remove_callback() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        b"UPDATE replyhook_schema SET step = 9999",
        b"DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$",
        b"CREATE SCHEMA odd",
    ],
)
def test_what_was_changed_otherwise_is_thrown_away(postgres_server: PostgreSQLServer, change: bytes) -> None:
    url = postgres_server.new_store()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change)
    postgres_server.drop(url)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_where_somebody_is_connected_still_it_is_thrown_away(
    postgres_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.receiver.emptying._SECONDS", 0.1)
    url = postgres_server.new_store()
    with closing(psycopg.connect(url)) as connection:
        postgres_server.drop(url)
        with pytest.raises(psycopg.OperationalError):
            connection.execute(b"SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)
