"""PostgreSQL for more than one machine: the same rules and SQL as SQLite's, any number of processes on one database."""

from replyhook_receiver.stores.postgres.store import PostgreSQLStore

__all__ = ["PostgreSQLStore"]
