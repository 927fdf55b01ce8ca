"""More than can be held at a time is turned away at once, and what was taken on is kept all the same."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.hostile.stranger import Good, a_served_receiver

BODY = 60_000
HELD = 3  # bodies that fit, while nothing can be committed


def padded() -> Good:
    return Good.useapi(padding="x" * BODY)


async def test_bodies_beyond_the_bound_are_turned_away_at_once_and_the_held_ones_are_kept(tmp_path: Path) -> None:
    async with a_served_receiver(tmp_path, max_held_bytes=HELD * (BODY + 1000)) as running:
        with closing(sqlite3.connect(running.settings.database_path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            held = [asyncio.create_task(padded().sent_to(running)) for _ in range(HELD)]
            await asyncio.sleep(0.3)
            began = time.monotonic()
            turned_away = await padded().sent_to(running)
            assert time.monotonic() - began < 0.5, "it waited"
            assert (turned_away.status, turned_away.headers.get("retry-after")) == (503, "5")
            assert not any(task.done() for task in held)
            other.execute("ROLLBACK")
        assert [(await task).is_ok for task in held] == [True] * HELD
        assert (await padded().sent_to(running)).is_ok, "what was let go counts no more"
        assert running.rows("SELECT count(*) FROM callbacks WHERE provider = 'useapi'") == [(HELD + 1,)]


async def test_bodies_that_are_given_up_count_no_more(tmp_path: Path) -> None:
    async with a_served_receiver(tmp_path, max_held_bytes=BODY + 1000, max_callback_bytes=BODY) as running:
        for _ in range(5):
            assert (await padded().sent_to(running)).status == 413
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(Good.useapi(padding="x" * (BODY // 2)).spoilt()[: BODY // 4])
            await writer.drain()
            writer.transport.abort()
        assert (await Good.useapi(padding="x" * (BODY // 2)).sent_to(running)).is_ok
