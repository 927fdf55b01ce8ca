"""PostgreSQL restarts, is full or is held up under load: 503 meanwhile, nothing answered is lost, all go on alone."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from replyhook_receiver.stores.postgres.connection import connect
from tests.faults.cluster import Cluster, a_cluster
from tests.faults.evidence import Evidence
from tests.faults.providers import Providers
from tests.receiver.postgres_server import PostgreSQLServer
from tests.receiver.support import until

LOCK_SECONDS = 3
CONNECTIONS = 40
_SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION slow();
"""


@asynccontextmanager
async def under_load(
    folder: Path, url: str, providers: Providers, *, changed: str = "short-leases"
) -> AsyncIterator[Cluster]:
    """A cluster with providers that send, and at the end all that is to hold of what they were told."""
    ledger = providers.ledger
    async with a_cluster(folder, url, changed=changed, **providers.settings) as cluster:
        async with cluster.client() as client, providers.sending(client):
            await until(lambda: ledger.acknowledged.total() > 100, seconds=60)
            yield cluster
            await cluster.all_ready(seconds=90)
            before = ledger.acknowledged.total()
            await until(lambda: ledger.acknowledged.total() > before + 100, seconds=60)
        await cluster.rest(seconds=60)
        assert [member.starts for member in cluster.members] == [1] * 4, "one had to be begun again"
        await cluster.end()
    assert ledger.cut_off == []
    evidence = Evidence.in_postgres(url, folder)
    evidence.assert_keeps(ledger)
    evidence.assert_all_work_is_done(ledger, providers.host, providers.clip)


async def nobody_is_taken(cluster: Cluster, providers: Providers) -> None:
    """Callbacks are turned away, with the time to come again, at every receiver; none is answered with a 200."""
    ledger = providers.ledger
    before = ledger.turned_away.total()
    await until(lambda: ledger.turned_away.total() > before + 20, seconds=120)
    taken = ledger.acknowledged.total()
    await until(lambda: ledger.turned_away.total() > before + 40, seconds=120)
    assert ledger.acknowledged.total() == taken
    for member in cluster.receivers:
        status, told = await member.server.readiness()
        assert (status, told["store"]) == (503, False)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_while_postgres_restarts_callbacks_are_turned_away_and_then_all_goes_on_by_itself(
    tmp_path: Path, postgres_server: PostgreSQLServer, postgres_url: str, providers: Providers, how: signal.Signals
) -> None:
    async with under_load(tmp_path, postgres_url, providers) as cluster:
        for _ in range(2):
            await asyncio.to_thread(postgres_server.stop, how)
            try:
                await nobody_is_taken(cluster, providers)
            finally:
                await asyncio.to_thread(postgres_server.start)
            await cluster.all_ready(seconds=60)


async def test_while_others_have_all_its_connections_callbacks_are_turned_away(
    tmp_path: Path, few_connections: PostgreSQLServer, postgres_url: str, providers: Providers
) -> None:
    async with under_load(tmp_path, postgres_url, providers) as cluster:
        with contextlib.ExitStack() as others:
            first = others.enter_context(psycopg.connect(postgres_url, autocommit=True))
            # Counted are those of others: a receiver that just connects is not seen yet, but has its place.
            held = """
                SELECT count(*) FROM pg_stat_activity
                WHERE backend_type = 'client backend' AND application_name <> 'replyhook'
            """
            while first.execute(held).fetchone() != (CONNECTIONS,):
                first.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'replyhook'"
                )
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        others.enter_context(psycopg.connect(few_connections.url(), connect_timeout=5))
                await asyncio.sleep(0)
            await nobody_is_taken(cluster, providers)


async def test_while_another_session_locks_our_tables_callbacks_are_turned_away_in_bounded_time(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    async with under_load(tmp_path, postgres_url, providers) as cluster:
        with psycopg.connect(postgres_url) as other:
            lock_our_tables(other)
            await nobody_is_taken(cluster, providers)
    assert LOCK_SECONDS - 1 < providers.ledger.slowest_seconds < 10 * LOCK_SECONDS


def lock_our_tables(other: psycopg.Connection) -> None:
    """Lock them all, however often that meets what runs: of two that wait for each other PostgreSQL ends one."""
    while True:
        try:
            other.execute("LOCK TABLE jobs, tasks, events IN ACCESS EXCLUSIVE MODE")
            return
        except psycopg.errors.DeadlockDetected:
            other.rollback()


async def test_a_statement_that_takes_too_long_is_given_up_and_its_callbacks_come_again(
    tmp_path: Path, postgres_url: str, providers: Providers
) -> None:
    async with under_load(tmp_path, postgres_url, providers, changed="short-statements") as cluster:
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(_SLOW)
            before = providers.ledger.turned_away.total()
            await until(lambda: providers.ledger.turned_away.total() > before + 20, seconds=60)
            other.execute("SET lock_timeout = 0; DROP TRIGGER slow ON events")
        await cluster.all_ready(seconds=60)
    assert providers.ledger.slowest_seconds < 10 * LOCK_SECONDS


@pytest.mark.parametrize("in_a_pipeline", [False, True])
async def test_a_process_that_stands_still_in_a_transaction_holds_up_the_others_for_seconds_only(
    tmp_path: Path, postgres_url: str, providers: Providers, in_a_pipeline: bool
) -> None:
    with contextlib.closing(
        connect(postgres_url)
    ) as stopped:  # as all of ours are, of whom the kernel may stop any at any time
        pipeline = stopped.pipeline() if in_a_pipeline else contextlib.nullcontext()
        pipeline.__enter__()  # in which no time-out of PostgreSQL's ends it; left when it has been ended
        stopped.execute(b"BEGIN")
        stopped.execute(
            b"SELECT pg_advisory_xact_lock(hashtextextended('replyhook ' || current_schema(), 0))"
        ).fetchone()
        started = time.monotonic()
        async with a_cluster(tmp_path, postgres_url, receivers=1, workers=1, **providers.settings) as cluster:
            seconds = time.monotonic() - started
            assert LOCK_SECONDS < seconds < 20 * LOCK_SECONDS, "one that begins meanwhile waits, and gives not up"
            await cluster.end()


@pytest.fixture
def few_connections(postgres_server: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """The server, started so that others can take all its connections."""
    postgres_server.stop()
    postgres_server.start(max_connections=str(CONNECTIONS))
    yield postgres_server
    postgres_server.restart()
