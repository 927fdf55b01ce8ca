"""PostgreSQL: the contracts of every store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.postgres import PostgreSQLStore
from tests.contracts.endpoints_contract import EndpointsContract
from tests.contracts.history_contract import HistoryContract
from tests.contracts.order_contract import OrderContract
from tests.contracts.relays_contract import IdempotencyContract, RelaysContract
from tests.contracts.replay_contract import ReplayContract
from tests.contracts.store.material import Reopen, describe
from tests.contracts.store_contract import StoreContract
from tests.receiver.postgres_server import PostgreSQLServer


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    opened = PostgreSQLStore(postgres_url, describe=describe, at_one_endpoint=1000)
    await opened.open()
    yield opened
    await opened.close()


class TestPostgreSQL(StoreContract):
    """The whole contract."""

    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[Store]:
        opened = PostgreSQLStore(postgres_url, describe=describe, at_one_endpoint=1000)
        await opened.open()
        yield opened
        await opened.close()

    @pytest.fixture
    async def reopen(self, store: Store, postgres_url: str) -> AsyncIterator[Reopen]:
        again = PostgreSQLStore(postgres_url, describe=describe, at_one_endpoint=1000)

        async def reopened() -> Store:
            await store.close()
            await again.open()
            return again

        yield reopened
        await again.close()


class TestPostgreSQLEndpoints(EndpointsContract):
    """The endpoints' contract."""

    @pytest.fixture
    async def store(self, postgres_url: str) -> AsyncIterator[Store]:
        opened = PostgreSQLStore(postgres_url, describe=describe)
        await opened.open()
        yield opened
        await opened.close()


class TestPostgreSQLHistory(HistoryContract):
    """The whole contract."""


class TestPostgreSQLReplays(ReplayContract):
    """The whole contract."""


class TestPostgreSQLInAnyOrder(OrderContract):
    """A database for each story."""

    ORDERS = 4  # the rules are the same SQL as SQLite's, where it is twice as many

    @pytest.fixture(autouse=True)
    def _in(self, postgres_server: PostgreSQLServer) -> None:
        self._server = postgres_server

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Store]:
        url = await asyncio.to_thread(self._server.new_store)
        store = PostgreSQLStore(url, describe=describe, at_one_endpoint=1000)
        await store.open()
        try:
            yield store
        finally:
            await store.close()
            await asyncio.to_thread(self._server.drop, url)


@asynccontextmanager
async def a_store(url: str, **max_jobs: int) -> AsyncIterator[Store]:
    store = PostgreSQLStore(url, describe=describe, max_jobs=max_jobs)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class InADatabase:
    """Where the store's database is."""

    @pytest.fixture(autouse=True)
    def _in(self, postgres_url: str) -> None:
        self._url = postgres_url

    def opened(self, **max_jobs: int) -> AbstractAsyncContextManager[Store]:
        return a_store(self._url, **max_jobs)


class TestPostgreSQLRelays(InADatabase, RelaysContract):
    """Places."""


class TestPostgreSQLIdempotency(InADatabase, IdempotencyContract):
    """Keys."""
