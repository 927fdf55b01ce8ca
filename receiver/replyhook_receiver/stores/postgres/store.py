"""PostgreSQLStore: the store's rules over one PostgreSQL."""

from functools import partial
from typing import Unpack

from replyhook_receiver.stores.postgres.database import PostgreSQLDatabase
from replyhook_receiver.stores.postgres.retention import PostgreSQLRetention
from replyhook_receiver.stores.sql.store import Options, SQLStore


class PostgreSQLStore(SQLStore):
    """One PostgreSQL, by its URL; the rest is as in ``SQLStore``. Raises ``ConfigurationError`` for another URL."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(partial(PostgreSQLDatabase, url), **options)
        self.retention = PostgreSQLRetention(self.database)
