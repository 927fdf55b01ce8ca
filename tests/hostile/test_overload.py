"""More than can be held at a time is turned away at once, and what was taken on is kept all the same."""

import asyncio
import contextlib
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from replyhook_receiver import bounds
from tests.hostile.stranger import Good, a_served_receiver
from tests.receiver.support import API_KEY

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
            turned_away = await padded().sent_to(running)
            assert (turned_away.status, turned_away.headers.get("retry-after")) == (503, "5")
            assert not any(task.done() for task in held), "it waited, as those do"
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


async def test_who_has_one_token_holds_no_more_than_two_bodies_and_locks_nobody_out(tmp_path: Path) -> None:
    async with a_served_receiver(tmp_path, max_held_bytes=4 * BODY, max_callback_bytes=BODY) as running:
        greedy = Good.useapi(padding="x" * (BODY - 1_000)).spoilt()
        lines = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(8)]
        for _, writer in lines:
            writer.write(greedy[:-1])
            await writer.drain()
        await asyncio.sleep(0.3)
        assert (await Good.useapi(padding="x" * (BODY // 2)).sent_to(running)).is_ok
        for _, writer in lines:
            writer.transport.abort()


async def test_requests_behind_one_another_without_end_are_cut_off(tmp_path: Path) -> None:
    async with a_served_receiver(tmp_path) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 2_000)
                await asyncio.wait_for(writer.drain(), 60)
                await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            answered = (await asyncio.wait_for(reader.read(-1), 60)).count(b"HTTP/1.1 200")
            assert answered < 2_000
        writer.transport.abort()
        assert (await Good.useapi().sent_to(running)).is_ok


async def test_answers_that_nobody_reads_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "UNREAD_SECONDS", 0.3)
    async with a_served_receiver(tmp_path) as running:
        assert (await Good.useapi(padding="x" * 200_000).sent_to(running)).is_ok  # so that an answer about it is long
        headers = {"authorization": f"Bearer {API_KEY}"}
        listed = (await running.client.get("/v1/callbacks", headers=headers)).json()
        path = f"/v1/callbacks/{listed['data'][0]['id']}?raw=true"
        ask = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {API_KEY}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", running.port)) as deaf:
            deaf.setblocking(False)
            ended = time.monotonic() + 15
            cut_off = False
            while time.monotonic() < ended and not cut_off:  # one at a time: no request waits behind another
                try:
                    deaf.send(ask)
                except ConnectionError:
                    cut_off = True
                except BlockingIOError:
                    pass
                await asyncio.sleep(0.1)
        assert cut_off, "it waits for ever for whoever does not read"
