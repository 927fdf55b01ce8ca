"""SQLite: the contract, and what its promises rest on: PRAGMAs, group commit, failed commits, the end."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from replyhook.errors import ConfigurationError
from replyhook.jobs import JobStatus
from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.records import Accepted
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.sql.probe import Probe
from replyhook_receiver.stores.sql.writer import MAX_WAITING, Writer
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stores.sqlite.connection import Connection, connect
from replyhook_receiver.stores.sqlite.database import rewrite_a_page
from replyhook_receiver.stores.sqlite.engine import SQLiteEngine
from tests.contracts.endpoints_contract import EndpointsContract
from tests.contracts.order_contract import OrderContract
from tests.contracts.store.material import Reopen, a_job, all_of, describe, report, running, the_job
from tests.contracts.store_contract import StoreContract
from tests.receiver.sqlite_file import lay
from tests.receiver.support import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder to be made" / "replyhook.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(lay(path), describe=describe)
    await opened.open()
    yield opened
    await opened.close()


class TestSQLiteEndpoints(EndpointsContract):
    """The endpoints' contract."""

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Store]:
        opened = SQLiteStore(lay(path), describe=describe)
        await opened.open()
        yield opened
        await opened.close()


class TestSQLite(StoreContract):
    """The whole contract."""

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Store]:
        opened = SQLiteStore(lay(path), describe=describe, at_one_endpoint=1000)
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    async def reopen(self, store: Store, path: Path) -> AsyncIterator[Reopen]:
        again = SQLiteStore(path, describe=describe, at_one_endpoint=1000)

        async def reopened() -> Store:
            await store.close()
            await again.open()
            return again

        yield reopened
        await again.close()


class TestSQLiteInAnyOrder(OrderContract):
    """A database file for each story."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        with TemporaryDirectory() as folder:
            store = SQLiteStore(lay(Path(folder) / "replyhook.db"), describe=describe, at_one_endpoint=1000)
            await store.open()
            try:
                yield store
            finally:
                await store.close()


async def test_a_commit_is_synced_to_disk_before_it_counts(store: SQLiteStore, path: Path) -> None:
    await store.accept(report(a_job(), running(5)))
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM callbacks").fetchone() == (1,)
    ours = await connect(path)
    try:
        settings = ("synchronous", "foreign_keys", "journal_mode")
        found = await ours.work(lambda raw: [raw.execute(f"PRAGMA {name}").fetchone()[0] for name in settings])
        assert found == [2, 1, "wal"]
    finally:
        await ours.close()


async def test_what_a_batch_may_have_to_take_back_goes_to_no_file(store: SQLiteStore) -> None:
    kept = await store.database.write(lambda raw: raw.execute("PRAGMA temp_store").fetchone()[0])
    assert kept == 2, "in memory"


async def test_a_caller_that_cannot_be_told_harms_no_other(store: SQLiteStore) -> None:
    def cannot(_: object) -> None:
        raise ValueError("gone")

    store.accept_then(report(a_job(), running(5)), cannot)
    told: list[Accepted | Exception] = []
    store.accept_then(report(a_job(), running(5)), told.append)
    waited = await store.accept(report(a_job(), running(5)))
    assert [type(each) for each in (waited, *told)] == [Accepted, Accepted]


@pytest.mark.usefixtures("store")
async def test_readers_cannot_write(path: Path) -> None:
    reader = await connect(path, read_only=True)
    try:
        with pytest.raises(sqlite3.OperationalError):
            await reader.work(lambda raw: raw.execute("DELETE FROM jobs"))
    finally:
        await reader.close()


async def test_a_database_that_cannot_be_synced_as_promised_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="journal_mode=memory"):
        await connect(Path(":memory:"))


async def test_a_database_from_a_newer_version_is_refused_and_left_as_it_is(store: SQLiteStore, path: Path) -> None:
    await store.close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 99")
    newer = SQLiteStore(path, describe=describe)
    with pytest.raises(ConfigurationError, match="newer"):
        await newer.open()
    assert not await newer.check()
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (99,)


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "replyhook.db"
    await asyncio.to_thread(path.write_bytes, b"not a database at all" * 100)
    with pytest.raises((ConfigurationError, StoreUnavailable)):
        await SQLiteStore(path, describe=describe).open()


async def test_what_arrives_together_is_committed_together(store: SQLiteStore) -> None:
    commits = []
    store.on_change(tasks=lambda: commits.append("tasks"), notifications=lambda: None)
    jobs = [a_job(number) for number in range(300)]
    results = await all_of(store.accept(report(job, running(5, None))) for job in jobs)
    assert all(isinstance(result, Accepted) for result in results)
    assert 1 <= len(commits) <= 6, "300 callbacks took a commit each"


async def test_a_callers_end_does_not_take_its_write_back_and_the_worker_is_told(store: SQLiteStore) -> None:
    told = asyncio.Event()
    store.on_change(tasks=told.set, notifications=lambda: None)
    job = a_job()
    caller = asyncio.create_task(store.accept(report(job, running(5))))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with asyncio.timeout(60):
        await told.wait()
    assert (await the_job(store, job)).status is JobStatus.RUNNING


async def test_closing_finishes_what_was_taken_on(store: SQLiteStore, path: Path) -> None:
    jobs = [a_job(number) for number in range(600)]  # more than one batch
    callers = [asyncio.create_task(store.accept(report(job, running(5, None)))) for job in jobs]
    await asyncio.sleep(0)
    await store.close()
    results = await all_of(callers)
    assert all(isinstance(result, Accepted) for result in results)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM callbacks").fetchone() == (600,)


# The writer, on a table of its own


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Connection]:
    opened = await connect(tmp_path / "writer.db")
    await opened.work(
        lambda raw: raw.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (id)) STRICT"
        )
    )
    await opened.work(lambda raw: raw.execute("PRAGMA busy_timeout = 50"))
    yield opened
    await opened.close()


def _nothing() -> None:
    return None


@pytest.fixture
async def writer(connection: Connection) -> AsyncIterator[Writer]:
    running_writer = Writer(
        SQLiteEngine(connection, check_files=_nothing), accept_all=lambda _, __: [], after_commit=_nothing
    )
    yield running_writer
    await running_writer.close()


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    def work(raw: sqlite3.Connection) -> int:
        raw.execute("INSERT INTO t VALUES (?, NULL)", (number,))
        return number

    return work


def dangling(raw: sqlite3.Connection) -> None:
    """Leaves the transaction in a state that only COMMIT finds fault with."""
    raw.execute("PRAGMA defer_foreign_keys = ON")
    raw.execute("INSERT INTO t VALUES (1000, 2000)")


async def rows(connection: Connection) -> list[int]:
    return await connection.work(lambda raw: [row[0] for row in raw.execute("SELECT id FROM t ORDER BY id")])


async def test_a_failed_commit_fails_its_whole_batch_and_the_next_one_succeeds(
    connection: Connection, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    works = [insert(1), insert(2), dangling, insert(3)]
    results = await all_of(writer.run(work) for work in works)
    assert [type(result) for result in results] == [StoreUnavailable] * 4
    assert await rows(connection) == []
    assert writer.healthy
    assert await writer.run(insert(1)) == 1
    assert await rows(connection) == [1]
    assert "none of them is kept" in caplog.text


async def test_a_lock_held_elsewhere_fails_the_batch_and_is_recovered_from(
    connection: Connection, writer: Writer, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "writer.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await all_of(writer.run(insert(number)) for number in range(3))
        assert [type(result) for result in results] == [StoreUnavailable] * 3
        other.execute("ROLLBACK")
    assert await all_of(writer.run(insert(number)) for number in range(3)) == [0, 1, 2]
    assert await rows(connection) == [0, 1, 2]


async def test_a_full_disk_fails_the_batch_and_is_recovered_from(connection: Connection, writer: Writer) -> None:
    await connection.work(lambda raw: raw.execute("CREATE TABLE big (body BLOB)"))
    pages = await connection.work(lambda raw: raw.execute("PRAGMA page_count").fetchone()[0])
    await connection.work(lambda raw: raw.execute(f"PRAGMA max_page_count = {pages}"))
    big = 64 * 1024

    def fill(raw: sqlite3.Connection) -> None:
        raw.execute("INSERT INTO big VALUES (zeroblob(?))", (big,))

    results = await all_of([writer.run(insert(1)), writer.run(fill), writer.run(insert(2))])
    assert isinstance(results[1], StoreUnavailable)
    kept = [result for result in results if not isinstance(result, Exception)]
    assert await rows(connection) == kept
    await connection.work(lambda raw: raw.execute("PRAGMA max_page_count = 1000000"))
    await writer.run(fill)
    assert await writer.run(insert(9)) == 9


async def test_one_that_fails_in_a_batch_fails_alone(connection: Connection, writer: Writer) -> None:
    def breaks(raw: sqlite3.Connection) -> None:
        raw.execute("INSERT INTO t VALUES (50, NULL)")
        raise LookupError("ours")

    results = await all_of(writer.run(work) for work in [insert(1), insert(1), breaks, insert(2)])
    assert [type(result) for result in results] == [int, StoreUnavailable, LookupError, int]
    assert await rows(connection) == [1, 2]


async def test_a_batch_is_one_commit(connection: Connection, writer: Writer) -> None:
    statements: list[str] = []
    await connection.work(lambda raw: raw.set_trace_callback(statements.append))
    await all_of(writer.run(insert(number)) for number in range(100))
    assert statements.count("COMMIT") <= 2
    assert statements.count("COMMIT") == statements.count("BEGIN IMMEDIATE")


async def test_more_than_can_wait_is_turned_away_at_once(writer: Writer) -> None:
    held = [asyncio.create_task(writer.run(lambda _: None)) for _ in range(MAX_WAITING + 5)]
    results = await all_of(held)
    assert sum(isinstance(result, Overloaded) for result in results) == 5


async def test_a_closed_writer_takes_nothing(writer: Writer) -> None:
    await writer.close()
    assert not writer.healthy
    with pytest.raises(StoreUnavailable):
        await writer.run(insert(1))


# Readiness


async def test_readiness_costs_no_write_while_commits_succeed(connection: Connection, writer: Writer) -> None:
    statements: list[str] = []
    await writer.run(insert(1))
    await connection.work(lambda raw: raw.set_trace_callback(statements.append))
    probe = Probe(writer, rewrite_a_page)
    assert await probe.check()
    assert await probe.check()
    assert statements == []


async def test_after_a_failed_commit_readiness_is_regained_by_a_write_of_its_own_alone(
    connection: Connection, writer: Writer, tmp_path: Path
) -> None:
    probe = Probe(writer, rewrite_a_page)
    with closing(sqlite3.connect(tmp_path / "writer.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await writer.run(insert(1))
        assert not await probe.check()
        other.execute("ROLLBACK")
    await writer.run(lambda raw: raw.execute("SELECT 1").fetchone())
    assert not await probe.check(), "it tries more than once a second"
    frames_before = (tmp_path / "writer.db-wal").stat().st_size
    await until(probe.check, seconds=60)
    assert (tmp_path / "writer.db-wal").stat().st_size > frames_before, "nothing was written"
    assert await rows(connection) == []
    await probe.close()
