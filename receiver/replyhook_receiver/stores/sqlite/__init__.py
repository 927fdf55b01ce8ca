"""The embedded default: one SQLite file, one writer with group commit, readers beside it."""

from replyhook_receiver.stores.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
