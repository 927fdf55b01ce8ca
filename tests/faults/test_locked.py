"""Another process holds the database locked for longer than we wait: 503, nothing lost, and work again after it."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.faults.evidence import Evidence
from tests.faults.harness import a_server
from tests.faults.providers import Providers
from tests.receiver.support import until

PROVIDERS_AT_ONCE = 16
BUSY_SECONDS = 2


async def test_while_the_database_is_locked_callbacks_are_turned_away_and_none_is_lost(
    tmp_path: Path, providers: Providers
) -> None:
    ledger = providers.ledger
    async with a_server(tmp_path, **providers.settings) as server, server.client() as client:
        senders = [asyncio.create_task(providers.keep_sending(client)) for _ in range(PROVIDERS_AT_ONCE)]
        await until(lambda: ledger.acknowledged.total() > 100)
        with closing(sqlite3.connect(tmp_path / "replyhook.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(0.2)
            before = ledger.acknowledged.total()
            # Who comes while a commit waits for the lock is turned away with it, and has no wait of its own.
            await until(lambda: ledger.turned_away.total() > 0, seconds=60)
            assert ledger.acknowledged.total() == before
            assert (await server.readiness())[1]["store"] is False
            other.execute("ROLLBACK")
        await until(lambda: ledger.acknowledged.total() > before + 100)
        await until(server.is_ready)
        providers.stopping = True
        await asyncio.gather(*senders)
        await providers.send_again(client)
        await server.end()
    assert ledger.cut_off == []
    # Waits of their own would add up to sixteen times as much.
    assert BUSY_SECONDS - 1 < ledger.slowest_seconds < 5 * BUSY_SECONDS
    Evidence.read(tmp_path).assert_keeps(ledger)
