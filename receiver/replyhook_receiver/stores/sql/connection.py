"""A connection as the store's SQL uses it: a statement, its rows, and how many it changed.

Statements are written as SQLite spells them, in what PostgreSQL understands too wherever there is such a way;
``stores.postgres.spelling`` knows the few places where there is none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any]


class Row(Protocol):
    """A row: its values by their columns' names and by their places."""

    def __getitem__(self, column: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...

    def keys(self) -> Any:
        """The columns' names, in order."""
        ...


class Cursor(Protocol):
    """What a statement came to."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Raw(Protocol):
    """A plain connection, used from one thread. Values stand for ``?``, ``?1`` or ``:name``."""

    def execute(self, statement: str, values: Values = ..., /) -> Cursor:
        """Run a statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Any], /) -> Cursor:
        """Run it once for each of ``rows``; its ``rowcount`` is that of all together."""
        ...
