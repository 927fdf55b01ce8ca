"""SQLite: looking into what was told, and taking it once more."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.replaying import Replay, Step
from replyhook_receiver.stores.sqlite import SQLiteStore
from tests.contracts.history_contract import HistoryContract
from tests.contracts.replay_contract import ReplayContract, unread
from tests.contracts.store.material import NOW, a_job, describe, submitted, succeeded
from tests.receiver.sqlite_file import lay


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replyhook.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    opened = SQLiteStore(lay(path), describe=describe)
    await opened.open()
    yield opened
    await opened.close()


class TestSQLiteHistory(HistoryContract):
    """The whole contract."""


class TestSQLiteReplays(ReplayContract):
    """The whole contract."""


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        return list(raw.iterdump())


async def test_a_dry_run_leaves_every_row_of_every_table_as_it_was(store: Store, path: Path) -> None:
    job = a_job()
    await submitted(store, job)
    entry = await unread(store, job)
    before = rows(path)
    dry = Replay(callback_id=entry.callback_id, event=succeeded(), steps=frozenset(Step), keeps=False)
    await store.replays.replay(dry, now=NOW)
    assert rows(path) == before
