"""A store on PostgreSQL, and somebody else beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import sql

from replyhook_receiver.stores.postgres import PostgreSQLStore
from tests.contracts.store.material import describe


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgreSQLStore]:
    store = PostgreSQLStore(url, describe=describe)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def database_of(url: str) -> sql.Identifier:
    return sql.Identifier(url.rpartition("/")[2])


async def beside(url: str) -> "psycopg.AsyncConnection[Any]":
    """A connection of somebody else's."""
    return await psycopg.AsyncConnection.connect(url, autocommit=True)
