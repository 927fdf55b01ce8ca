"""PostgreSQL restarts, is locked, changed, frozen or set up otherwise: nothing is lost, and all goes on by itself."""

import asyncio
import itertools
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from psycopg import sql

from replyhook.errors import ConfigurationError
from replyhook_receiver.answers import Answer
from replyhook_receiver.endpoint_rules import MAX_URL_LENGTH, checked_url
from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.records import Accepted
from replyhook_receiver.stores.postgres import PostgreSQLStore, database, engine, readers
from replyhook_receiver.stores.postgres import connection as connecting
from replyhook_receiver.stores.sql import writer
from replyhook_receiver.stores.sql.places import note_failure
from tests.contracts.store.material import NOW, a_job, all_of, describe, report, running, succeeded
from tests.receiver.postgres_server import PASSWORD, PostgreSQLServer
from tests.receiver.stores.postgres_store import beside, database_of, opened
from tests.receiver.support import until


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgreSQLStore]:
    async with opened(postgres_url) as store:
        yield store


async def test_a_restart_of_postgres_loses_nothing_that_was_acknowledged_and_is_recovered_from(
    store: PostgreSQLStore, postgres_url: str, postgres_server: PostgreSQLServer
) -> None:
    acknowledged: list[str] = []
    turned_away: list[str] = []
    is_over = False

    async def send(sender: int) -> None:
        number = 0
        while not is_over:
            number += 1
            job = a_job(sender * 10_000 + number)
            try:
                await store.accept(report(job, running(5, f"r-{sender}-{number}")))
            except StoreUnavailable as error:
                turned_away.append(str(error))
                await asyncio.sleep(0.05)
            else:
                acknowledged.append(job)

    async with asyncio.timeout(180), asyncio.TaskGroup() as senders:
        for sender in range(8):
            senders.create_task(send(sender))
        await until(lambda: len(acknowledged) > 50)
        await asyncio.to_thread(postgres_server.stop)
        assert not await store.check()
        before = len(acknowledged)
        await until(lambda: len(turned_away) > 8)
        await asyncio.to_thread(postgres_server.start)
        await until(lambda: len(acknowledged) > before + 50)
        is_over = True
    await eventually(store.check)
    kept = set()
    async with await beside(postgres_url) as other:
        async for row in await other.execute(b"SELECT job_id FROM callbacks"):
            kept.add(row[0])
    assert set(acknowledged) <= kept
    assert await store.job(acknowledged[0]) is not None
    assert PASSWORD not in str(turned_away)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("what", ["the writers' lock", "a table"])
async def test_what_somebody_else_holds_for_long_is_waited_for_shortly_and_said(
    store: PostgreSQLStore, postgres_url: str, what: str
) -> None:
    statements = {
        "a table": b"LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE",
        "the writers' lock": b"SELECT pg_advisory_xact_lock(hashtextextended('replyhook ' || current_schema(), 0))",
    }
    async with await beside(postgres_url) as other:
        async with other.transaction():
            await other.execute(statements[what])
            async with asyncio.timeout(connecting.LOCK_MILLISECONDS / 1000 + 15):
                results = await asyncio.gather(
                    *(store.accept(report(a_job(number), running(5))) for number in range(5)), return_exceptions=True
                )
            assert [isinstance(result, StoreUnavailable) for result in results] == [True] * 5
        assert isinstance(await store.accept(report(a_job(), running(5))), Accepted)


@pytest.mark.parametrize("table", ["jobs", "callbacks", "events"])
async def test_however_often_writes_fail_they_go_on_when_nothing_is_in_their_way_any_more(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(connecting, "LOCK_MILLISECONDS", 50)
    numbers = itertools.count()
    async with opened(postgres_url) as store, await beside(postgres_url) as other:
        for failures in range(7):
            async with other.transaction():
                await other.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
                for _ in range(failures):
                    with pytest.raises(StoreUnavailable):
                        await store.accept(report(a_job(next(numbers)), succeeded()))
            assert isinstance(await store.accept(report(a_job(next(numbers)), succeeded())), Accepted)


async def test_however_often_a_write_is_refused_the_others_are_kept(store: PostgreSQLStore) -> None:
    def refused(raw: Any) -> None:
        for _ in range(2):
            raw.execute("INSERT INTO erased (job_id, erased_ms) VALUES (?, ?)", ("one", 1))

    for number in range(8):
        bad = asyncio.create_task(store.database.write(refused))
        assert isinstance(await store.accept(report(a_job(number), running(5))), Accepted)
        with pytest.raises(StoreUnavailable, match="UniqueViolation"):
            await bad


async def test_reads_that_find_all_connections_busy_are_turned_away(
    store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_SECONDS", 0.1)
    slow = [
        asyncio.create_task(store.database.read(lambda raw: raw.execute("SELECT 1 FROM pg_sleep(1)").fetchone()))
        for _ in range(readers.READERS)
    ]
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded):
        await store.job(a_job())
    await all_of(slow)
    assert await store.job(a_job()) is None


async def test_a_connection_that_reads_and_was_lost_is_replaced_unheard(
    store: PostgreSQLStore, postgres_url: str
) -> None:
    await all_of(store.job(a_job()) for _ in range(8))
    async with await beside(postgres_url) as other:
        await other.execute(
            b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            b"WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await all_of(store.job(a_job()) for _ in range(8)) == [None] * 8


@pytest.mark.parametrize(
    "statement", [b"ALTER TABLE notifications ADD COLUMN by_hand TEXT", b"ALTER TABLE notifications DROP COLUMN body"]
)
async def test_a_table_that_is_changed_while_it_is_read_is_read_on(
    store: PostgreSQLStore, postgres_url: str, statement: bytes
) -> None:
    def work(raw: Any) -> list[Any]:
        found: list[Any] = raw.execute("SELECT * FROM notifications").fetchall()
        return found

    for _ in range(20):  # often enough that psycopg prepares it on all of them
        await all_of(store.database.read(work) for _ in range(readers.READERS))
    async with await beside(postgres_url) as other:
        await other.execute(statement)
    for _ in range(3):
        assert await all_of(store.database.read(work) for _ in range(readers.READERS)) == [[]] * readers.READERS


async def test_connections_that_read_and_forgot_what_was_prepared_are_replaced(store: PostgreSQLStore) -> None:
    for _ in range(20):
        await all_of(store.job(a_job()) for _ in range(readers.READERS))
    forget = "DEALLOCATE ALL"
    await all_of(store.database.read(lambda raw: raw._connection.pgconn.exec_(forget.encode())) for _ in range(4))
    for _ in range(3):
        assert await all_of(store.job(a_job()) for _ in range(readers.READERS)) == [None] * readers.READERS


async def test_a_server_that_is_frozen_keeps_no_process_from_ending(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_END_SECONDS", 0.2)

    def its_process(raw: Any) -> int:
        return int(raw.execute("SELECT pg_backend_pid() AS pid").fetchone()["pid"])

    store = PostgreSQLStore(postgres_url, describe=describe)
    await store.open()
    processes = [await store.database.write(its_process), await store.database.read(its_process)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        kept = asyncio.create_task(store.accept(report(a_job(), running(5))))
        found = asyncio.create_task(store.job(a_job()))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30):
            await store.close()
        with pytest.raises(StoreUnavailable):
            await kept
        assert await found is None, "it was asked again, of another process of the server"
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


async def test_a_server_that_is_frozen_is_seen(store: PostgreSQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HANGS_SECONDS", 0.1)
    process = await store.database.write(
        lambda raw: int(raw.execute("SELECT pg_backend_pid() AS pid").fetchone()["pid"])
    )
    assert await store.check()
    os.kill(process, signal.SIGSTOP)
    try:
        kept = asyncio.create_task(store.accept(report(a_job(), running(5))))
        await asyncio.sleep(0.3)
        assert not await store.check()
    finally:
        os.kill(process, signal.SIGCONT)
    assert isinstance(await kept, Accepted)
    assert await store.check()


async def test_readers_cannot_write(store: PostgreSQLStore) -> None:
    with pytest.raises(StoreUnavailable, match="ReadOnlySqlTransaction"):
        await store.database.read(lambda raw: raw.execute("DELETE FROM jobs"))


async def test_a_write_that_the_database_refuses_fails_alone_and_its_values_are_logged_nowhere(
    store: PostgreSQLStore, caplog: pytest.LogCaptureFixture
) -> None:
    def twice(raw: Any) -> None:
        for _ in range(2):
            raw.execute("INSERT INTO erased (job_id, erased_ms) VALUES (?, ?)", ("geheim", 1))

    good = [asyncio.create_task(store.accept(report(a_job(number), running(5)))) for number in range(5)]
    bad = asyncio.create_task(store.database.write(twice))
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreUnavailable, match="UniqueViolation"):
        await bad
    assert all(isinstance(result, Accepted) for result in await all_of(good))
    assert await store.database.read(lambda raw: raw.execute("SELECT 1 FROM erased").fetchone()) is None
    assert "geheim" not in caplog.text


async def test_a_commit_that_is_told_of_is_on_disk_or_it_does_not_start(
    postgres_server: PostgreSQLServer, postgres_url: str
) -> None:
    weaken = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(database_of(postgres_url))
    await asyncio.to_thread(postgres_server.execute, weaken)
    with pytest.raises(ConfigurationError, match=r"synchronous_commit = off.*ALTER DATABASE"):
        await PostgreSQLStore(postgres_url, describe=describe).open()


async def test_a_server_that_is_set_up_otherwise_for_a_while_is_written_to_again_when_that_was_put_right(
    postgres_server: PostgreSQLServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BETWEEN_CONNECTS_SECONDS", 0.0)
    name = database_of(postgres_url)
    async with opened(postgres_url) as store:
        weaken = sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name)
        await asyncio.to_thread(postgres_server.execute, weaken)
        async with await beside(postgres_url) as other:
            await other.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                b"WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreUnavailable):
            await store.accept(report(a_job(), running(5)))
        with pytest.raises(StoreUnavailable, match="synchronous_commit = off"):
            await store.accept(report(a_job(), running(5)))
        mend = sql.SQL("ALTER DATABASE {} RESET synchronous_commit").format(name)
        await asyncio.to_thread(postgres_server.execute, mend)
        assert isinstance(await store.accept(report(a_job(), running(5))), Accepted)


async def test_the_longest_address_that_is_taken_is_noted_when_it_fails(store: PostgreSQLStore) -> None:
    begin = "https://app.example.com/"
    letters = random.Random(7).choices([chr(number) for number in range(0x4E00, 0x9FFF)], k=2048)  # hard to compress
    path = "".join(letters)[: (MAX_URL_LENGTH - len(begin)) // 3]
    secret = [{"value": f"whsec_{'x' * 88}", "expires_ms": None}]
    place = f"webhook {checked_url(begin + path)} {msgspec.json.encode(secret).decode()}"
    await store.database.write(lambda raw: note_failure(raw, place, Answer(status=500), NOW))


async def test_a_database_from_a_newer_version_is_refused(postgres_url: str) -> None:
    async with await beside(postgres_url) as other:
        await other.execute(b"UPDATE replyhook_schema SET step = 9999")
    store = PostgreSQLStore(postgres_url, describe=describe)
    with pytest.raises(ConfigurationError, match="newer replyhook"):
        await store.open()
    assert not await store.check()
