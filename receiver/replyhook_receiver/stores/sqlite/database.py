"""One SQLite file, open: the writer that all writes go through, and a few connections that only read."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.sql.batch import AcceptAll
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import ONLY_READ
from replyhook_receiver.stores.sql.probe import Probe
from replyhook_receiver.stores.sql.writer import Settle, Writer
from replyhook_receiver.stores.sqlite.connection import Connection, connect, keep_undo_in_memory, migrate
from replyhook_receiver.stores.sqlite.engine import SQLiteEngine
from replyhook_receiver.stores.sqlite.files import Files
from replyhook_receiver.stores.sqlite.reading import connect_to_read

T = TypeVar("T")

_READERS = 4


class SQLiteDatabase:
    """The ``Database`` over one file."""

    def __init__(self, path: Path, *, accept_all: AcceptAll, after_commit: Callable[[], None]) -> None:
        self._path = path
        self._accept_all = accept_all
        self._after_commit = after_commit
        self._connections: list[Connection] = []
        self._writer: Writer | None = None
        self._probe: Probe | None = None
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self._is_only_read = False

    async def open(self) -> None:
        """Connect, bring the schema up to date, check that what we rely on is in force."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            writing = await connect(self._path)
            self._connections.append(writing)
            await writing.work(migrate)
            await writing.work(keep_undo_in_memory)
            for _ in range(_READERS):
                self._connections.append(await connect(self._path, read_only=True))
            self._free = asyncio.Queue()
            for reader in self._connections[1:]:
                self._free.put_nowait(reader)
            files = await writing.work(lambda _: Files(self._path))
        except BaseException:
            await self.close()
            raise
        engine = SQLiteEngine(writing, check_files=files.check)
        self._writer = Writer(engine, accept_all=self._accept_all, after_commit=self._after_commit)
        self._probe = Probe(self._writer, rewrite_a_page)

    async def open_to_read(self) -> None:
        """Connect for reading alone: the schema stays, and what would write raises ``StoreUnavailable``."""
        self._is_only_read = True
        for _ in range(_READERS):
            self._connections.append(await connect_to_read(self._path))
            self._free.put_nowait(self._connections[-1])

    async def close(self) -> None:
        """Finish what was taken on, then disconnect."""
        if self._writer is not None:
            await self._writer.close()
        if self._probe is not None:
            await self._probe.close()
        for connection in reversed(self._connections):
            await connection.close()
        self._connections.clear()

    async def check(self) -> bool:
        """Whether writes are taken and reach the disk, told soon; costs no write unless one has failed."""
        return self._probe is not None and await self._probe.check()

    @property
    def writer(self) -> Writer:
        """Raises ``StoreUnavailable`` while it is not open."""
        if self._writer is None:
            raise StoreUnavailable(ONLY_READ if self._is_only_read else "the store is not open")
        return self._writer

    async def accept(self, report: Report) -> Accepted:
        """Keep a report, together with all others that wait."""
        return await self.writer.accept(report)

    def accept_then(self, report: Report, settle: Settle) -> None:
        """Keep a report likewise, and let ``settle`` hear of it."""
        self.writer.accept_then(report, settle)

    async def write(self, work: Callable[[Raw], T]) -> T:
        """Run ``work`` in the next commit, under a savepoint of its own. Raises what it raises."""
        return await self.writer.run(work)

    async def read(self, work: Callable[[Raw], T]) -> T:
        """Run ``work`` on the first connection that is free; these cannot write. One that takes long holds up nobody
        while another is free."""
        if not self._connections:
            raise StoreUnavailable("the store is not open")
        free = self._free
        reader = await free.get()
        try:
            return await reader.work(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read ({type(error).__name__})") from error
        finally:
            free.put_nowait(reader)

    async def overwrite_removed(self) -> None:
        # In the file, not only in the index: from here on, by this process.
        await self.write(lambda raw: raw.execute("PRAGMA secure_delete = ON").fetchone())


def rewrite_a_page(raw: Raw) -> None:
    """Change nothing, but with a page that has to be written and synced: SQLite does not compare what it is given."""
    version = raw.execute("PRAGMA user_version").fetchone()[0]
    raw.execute(f"PRAGMA user_version = {version}")
