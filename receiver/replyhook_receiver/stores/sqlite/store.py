"""SQLiteStore: the store's rules over one SQLite file."""

from functools import partial
from pathlib import Path
from typing import Unpack

from replyhook_receiver.stores.sql.store import Options, SQLStore
from replyhook_receiver.stores.sqlite.database import SQLiteDatabase


class SQLiteStore(SQLStore):
    """One SQLite file; the rest is as in ``SQLStore``."""

    def __init__(self, path: Path, **options: Unpack[Options]) -> None:
        super().__init__(partial(SQLiteDatabase, path), **options)
