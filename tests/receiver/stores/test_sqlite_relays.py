"""The SQLite store against the contract of relayed submits and idempotency keys."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.sqlite import SQLiteStore
from tests.contracts.relays_contract import IdempotencyContract, RelaysContract
from tests.contracts.store.material import describe
from tests.receiver.sqlite_file import lay


@asynccontextmanager
async def a_store(path: Path, **max_jobs: int) -> AsyncIterator[Store]:
    store = SQLiteStore(lay(path), describe=describe, max_jobs=max_jobs)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class InAFile:
    """Where the store's file is."""

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> None:
        self._path = tmp_path / "replyhook.db"

    def opened(self, **max_jobs: int) -> AbstractAsyncContextManager[Store]:
        return a_store(self._path, **max_jobs)


class TestSQLiteRelays(InAFile, RelaysContract):
    """Places."""


class TestSQLiteIdempotency(InAFile, IdempotencyContract):
    """Keys."""
