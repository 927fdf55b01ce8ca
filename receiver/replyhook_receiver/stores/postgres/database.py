"""One PostgreSQL database, open: the connection that writes, a few that read, and one that listens to the others."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.postgres.connection import options_of, shown_error
from replyhook_receiver.stores.postgres.engine import PostgreSQLEngine
from replyhook_receiver.stores.postgres.listening import Listener
from replyhook_receiver.stores.postgres.migrations import migrate
from replyhook_receiver.stores.postgres.partitions import make_ahead
from replyhook_receiver.stores.postgres.readers import Readers
from replyhook_receiver.stores.sql.batch import AcceptAll
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import ONLY_READ
from replyhook_receiver.stores.sql.probe import Probe
from replyhook_receiver.stores.sql.writer import Settle, Writer

T = TypeVar("T")

_END_SECONDS = 3.0
_FIRST_TRIES, _FIRST_PAUSE_SECONDS = 5, 0.5


class PostgreSQLDatabase:
    """The ``Database`` over one PostgreSQL, which any number of processes may have open."""

    def __init__(self, url: str, *, accept_all: AcceptAll, after_commit: Callable[[], None]) -> None:
        options_of(url)
        self._url = url
        self._accept_all = accept_all
        self._after_commit = after_commit
        self._name = new_id("rcv")
        self._writer: Writer | None = None
        self._engine: PostgreSQLEngine | None = None
        self._probe: Probe | None = None
        self._readers: Readers | None = None
        self._listener: Listener | None = None

    async def open(self) -> None:
        self._engine = PostgreSQLEngine(self._url, name=self._name)
        try:
            await self._engine.open(migrate)
            self._writer = Writer(self._engine, accept_all=self._accept_all, after_commit=self._after_commit)
            self._readers = Readers(self._url)
            await _make_ahead(self._writer)
        except psycopg.Error as error:
            await self.close()
            raise ConfigurationError(f"PostgreSQL cannot be used: {shown_error(error, self._url)}") from None
        except StoreUnavailable as error:
            await self.close()
            raise ConfigurationError(f"PostgreSQL cannot be used: {error}") from None
        except BaseException:
            await self.close()
            raise
        self._probe = Probe(self._writer, _touch)
        self._listener = Listener(self._url, channel=self._engine.channel, name=self._name, heard=self._after_commit)
        await self._listener.start()

    async def open_to_read(self) -> None:
        self._readers = Readers(self._url)

    async def close(self) -> None:
        cutting = asyncio.get_running_loop().call_later(_END_SECONDS, self._cut_off)
        try:
            await self._close()
        finally:
            cutting.cancel()

    def _cut_off(self) -> None:
        """A server that is frozen keeps nobody from ending: what it was sent counts as failed."""
        if self._readers is not None:
            self._readers.cut_off()
        if self._engine is not None:
            self._engine.cut_off()

    async def _close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        if self._writer is not None:
            await self._writer.close()
        if self._probe is not None:
            await self._probe.close()
        if self._readers is not None:
            await self._readers.close()
        if self._engine is not None:
            await self._engine.close()
        self._writer = self._engine = self._probe = self._readers = self._listener = None

    async def check(self) -> bool:
        if self._probe is None or self._listener is None or not self._listener.is_connected:
            return False
        return await self._probe.check()

    @property
    def writer(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable(ONLY_READ if self._readers else "the store is not open")
        return self._writer

    async def accept(self, report: Report) -> Accepted:
        return await self.writer.accept(report)

    def accept_then(self, report: Report, settle: Settle) -> None:
        self.writer.accept_then(report, settle)

    async def write(self, work: Callable[[Raw], T]) -> T:
        return await self.writer.run(work)

    async def read(self, work: Callable[[Raw], T]) -> T:
        if self._readers is None:
            raise StoreUnavailable("the store is not open")
        return await self._readers.read(work)

    async def overwrite_removed(self) -> None:
        """Nothing: PostgreSQL reuses the room of removed rows after it was vacuumed, and does not overwrite before."""


async def _make_ahead(writer: Writer) -> None:
    """Make the partitions to come: the first write. Another process's lock is waited for, longer than callers would."""
    for _ in range(_FIRST_TRIES - 1):
        try:
            return await writer.run(lambda raw: make_ahead(raw, datetime.now(UTC)))
        except StoreUnavailable:
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)
    return await writer.run(lambda raw: make_ahead(raw, datetime.now(UTC)))


def _touch(raw: Raw) -> None:
    """A write that has to reach the disk, whatever it is worth."""
    raw.execute("""
        INSERT INTO probe (one, touched) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET touched = probe.touched + 1
    """)
