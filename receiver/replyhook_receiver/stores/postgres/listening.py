"""Hearing from other processes that there is something new: a nudge, never the news itself, which is in the tables."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from replyhook_receiver.stores.postgres.connection import CONNECT_SECONDS, options_of, shown_error

RECONNECT_SECONDS = 1.0
FALLBACK_SECONDS = 5.0
"""How long a nudge that was lost may go unnoticed: so often everybody looks, nudged or not."""

_log = logging.getLogger(__name__)


class Listener:
    """Calls ``heard`` when another process has made work or notifications, and every few seconds in any case."""

    def __init__(self, url: str, *, channel: str, name: str, heard: Callable[[], None]) -> None:
        self._url = url
        self._channel = channel
        self._name = name
        self._heard = heard
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether it hears what is told."""
        return self._connected.is_set()

    async def start(self) -> None:
        """Begin; it is connected when this returns, or will be later."""
        self._task = asyncio.create_task(self._listen(), name="replyhook-listener")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connected.wait()

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _listen(self) -> None:
        was_told = False
        while True:
            try:
                async with await AsyncConnection.connect(**options_of(self._url), autocommit=True) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    self._connected.set()
                    was_told = False
                    self._heard()  # what came while nobody listened
                    await self._hear(connection)
            except (psycopg.Error, OSError) as error:
                if not was_told:
                    _log.warning("PostgreSQL does not tell of news for now: %s", shown_error(error, self._url))
                was_told = True
            finally:
                self._connected.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _hear(self, connection: AsyncConnection[Any]) -> None:
        while True:
            is_silent = True
            async for notice in connection.notifies(timeout=FALLBACK_SECONDS, stop_after=1):
                is_silent = False
                if notice.payload != self._name:  # our own writer has told us itself
                    self._heard()
            if is_silent:
                await connection.execute("SELECT 1")  # a connection that is dead does not say so by itself
                self._heard()
