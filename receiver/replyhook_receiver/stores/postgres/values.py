"""Values on their way to PostgreSQL and rows on their way back."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

from psycopg import AsyncConnection, BaseConnection, Connection, Cursor
from psycopg.adapt import Buffer
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

NUL = "\x00"


class Text(StrDumper):
    """Text as PostgreSQL can hold it.

    It has no character NUL, and callbacks may bring one: it becomes the character for what cannot be shown, in what is
    kept and in what is looked for alike. The raw body is bytes, and stays as it came.
    """

    def dump(self, obj: str) -> Buffer:
        return (holdable(obj) if NUL in obj else obj).encode("utf-8", "replace")


def holdable(text: str) -> str:
    """``text`` as it is kept."""
    return text.replace(NUL, "\ufffd")


class Row(tuple[Any, ...]):
    """A row: its values by their columns' names and by their places; of two of one name the first."""

    __slots__ = ()
    places: ClassVar[dict[str, int]]

    def __getitem__(self, column: Any) -> Any:
        return tuple.__getitem__(self, self.places[column] if type(column) is str else column)

    def keys(self) -> Sequence[str]:
        """The columns' names, in order."""
        return tuple(self.places)


def rows_by_name(cursor: Cursor[Any]) -> type[Row]:
    """psycopg's row factory for ``Row``."""
    return _row_of(tuple(column.name for column in cursor.description or ()))


@lru_cache(maxsize=1024)
def _row_of(names: tuple[str, ...]) -> type[Row]:
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    ordered = {name: places[name] for name in dict.fromkeys(names)}
    return type("NamedRow", (Row,), {"__slots__": (), "places": ordered})


def adapt(connection: "Connection[Any] | AsyncConnection[Any] | BaseConnection[Any]") -> None:
    """Let ``connection`` take values as the store's SQL means them."""
    connection.adapters.register_dumper(str, Text)
    # Not by their size: a statement is prepared once, whatever the numbers.
    connection.adapters.register_dumper(int, Int8Dumper)
