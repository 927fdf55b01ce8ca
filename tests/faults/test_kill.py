"""`kill -9` at any moment: whatever was answered 2xx is there afterwards, once, and what it leads to is done."""

import asyncio
import random
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.evidence import Evidence
from tests.faults.harness import Server, a_server
from tests.faults.providers import Providers
from tests.receiver.support import until

PROVIDERS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much is done. In the short form what a killed process held is taken over after 2 s instead of 30 s."""

    kills: int
    acknowledged: int
    changed: str | None
    rest_seconds: float
    prints: bool = False


SHORT = Form(kills=20, acknowledged=500, changed="short-leases", rest_seconds=90)
LONG = Form(kills=100, acknowledged=10_000, changed=None, rest_seconds=180, prints=True)


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    return LONG if request.config.getoption("--long-faults") else SHORT


async def test_everything_answered_before_a_kill_is_there_after_it_and_its_work_is_done(
    tmp_path: Path, providers: Providers, form: Form, capfd: pytest.CaptureFixture[str]
) -> None:
    def say(words: str) -> None:
        if form.prints:
            with capfd.disabled():
                print(words, file=sys.stderr, flush=True)

    ledger, kills, started = providers.ledger, 0, time.monotonic()
    again = 0
    while (
        kills < form.kills
        or ledger.acknowledged.total() < form.acknowledged
        or (kills < 5 * form.kills and not _have_come_upon_work(tmp_path))
    ):
        async with a_server(tmp_path, changed=form.changed, **providers.settings) as server:
            again += len(ledger.unanswered)
            await _load_and_kill(server, providers)
        kills += 1
        if kills % 10 == 0:
            say(f"{kills} kills, {ledger.acknowledged.total()} acknowledged, {time.monotonic() - started:.0f} s")

    async with a_server(tmp_path, changed=form.changed, **providers.settings) as server:
        async with server.client() as client:
            await providers.send_again(client)
        await until(lambda: _is_at_rest(tmp_path), seconds=form.rest_seconds)
        await server.end()

    evidence = Evidence.read(tmp_path)
    evidence.assert_keeps(ledger)
    evidence.assert_all_work_is_done(ledger, providers.host, providers.clip)
    assert evidence.begun_again("download") > 0, "no kill came upon a download"
    assert evidence.begun_again("notify") > 0, "no kill came upon a notification"
    say(
        f"{kills} kills; {ledger.acknowledged.total()} callbacks acknowledged, {again} cut off and sent again; "
        f"{len(evidence.jobs)} jobs, {evidence.events.total()} events; {len(evidence.videos)} videos, "
        f"{evidence.begun_again('download')} of them begun again; {len(evidence.notifications)} notifications, "
        f"{evidence.begun_again('notify')} deliveries begun again; {time.monotonic() - started:.0f} s"
    )


async def _load_and_kill(server: Server, providers: Providers) -> None:
    before = providers.ledger.acknowledged.total()
    async with server.client() as client:
        await providers.send_again(client)
        senders = [asyncio.create_task(providers.keep_sending(client)) for _ in range(PROVIDERS_AT_ONCE)]
        await until(lambda: providers.ledger.acknowledged.total() > before + 20)
        await asyncio.sleep(random.uniform(0, 0.5))
        await server.kill()
        async with asyncio.timeout(60):
            await asyncio.gather(*senders)


def _have_come_upon_work(data_dir: Path) -> bool:
    """Whether a kill has come upon a download, and one upon a notification."""
    begun_again = "SELECT count(DISTINCT kind) FROM tasks WHERE attempts > 1 AND kind IN ('download', 'notify')"
    return _asked(data_dir, begun_again) == 2


def _is_at_rest(data_dir: Path) -> bool:
    return bool(_asked(data_dir, "SELECT NOT EXISTS (SELECT 1 FROM tasks WHERE state IN ('ready', 'leased'))"))


def _asked(data_dir: Path, statement: str) -> int:
    with closing(sqlite3.connect(f"file:{data_dir / 'replyhook.db'}?mode=ro", uri=True)) as raw:
        value: int = raw.execute(statement).fetchone()[0]
    return value
