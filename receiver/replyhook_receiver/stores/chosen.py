"""The store that the settings name, and an operator's work on it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from replyhook.errors import ConfigurationError
from replyhook_receiver.config import Settings, database_of
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.stores.copying import Side
from replyhook_receiver.stores.sql.store import Options, SQLStore
from replyhook_receiver.stores.sqlite import SQLiteStore, upkeep
from replyhook_receiver.stores.sqlite.copying import a_side as sqlite_side

if TYPE_CHECKING:
    from types import ModuleType


def store_for(settings: Settings, **options: Unpack[Options]) -> SQLStore:
    """The store, not open yet. Raises ``ConfigurationError`` where what it needs is not installed."""
    if settings.postgres_url is None:
        return SQLiteStore(settings.database_path, **options)
    _installed()
    from replyhook_receiver.stores.postgres import PostgreSQLStore  # an extra, which not everybody has

    return PostgreSQLStore(settings.postgres_url, **options)


def pending_migrations(settings: Settings) -> list[str]:
    """The steps of the schema that are still to be taken. Raises ``ConfigurationError``."""
    if settings.postgres_url is None:
        return upkeep.pending_migrations(settings.database_path)
    return list(_installed().pending_migrations(settings.postgres_url))


def migrate(settings: Settings) -> list[str]:
    """Take them; the names of those. Raises ``ConfigurationError``."""
    if settings.postgres_url is None:
        return upkeep.migrate(settings.database_path)
    return list(_installed().migrate(settings.postgres_url))


def copy_side(url: str, *, is_target: bool) -> AbstractContextManager[Side]:
    """The database of a URL as one side of a copy. Raises ``ConfigurationError``, which does not repeat the URL."""
    try:
        named = database_of(url)
    except ValueError as error:
        raise ConfigurationError(f"the database to copy {'to' if is_target else 'from'} {error}") from None
    if isinstance(named, Path):
        return sqlite_side(named, is_target=is_target)
    _installed()
    from replyhook_receiver.stores.postgres.copying import a_side  # an extra, which not everybody has

    return a_side(named, is_target=is_target)


def _installed() -> "ModuleType":
    try:
        from replyhook_receiver.stores.postgres import upkeep as of_postgres
    except ImportError as error:
        raise ConfigurationError(
            f"database_url is PostgreSQL, and that needs more ({error}): {how_to_install('postgres')}"
        ) from error
    return of_postgres
