"""Inserting many rows at once: several a statement, since a statement's start and end cost about as much as a row."""

from collections.abc import Sequence
from itertools import chain

from replyhook_receiver.stores.sql.connection import Raw

_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""Rows a statement: few sizes, so that each statement is prepared once and kept."""


class Insert:
    """``INSERT INTO head VALUES …then``, for any number of rows of ``columns`` values; behind them stand ``constants``,
    the same ones in every row."""

    def __init__(self, head: str, columns: int, then: str = "", *, constants: Sequence[str] = ()) -> None:
        row = f"({', '.join([*'?' * columns, *constants])})"
        self._statements = {
            size: f"INSERT INTO {head} VALUES {', '.join([row] * size)} {then}"  # noqa: S608 - constants of ours
            for size in _AT_ONCE
        }

    def write(self, raw: Raw, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert ``rows``, in their order."""
        start = 0
        for size in _AT_ONCE:
            while len(rows) - start >= size:
                raw.execute(self._statements[size], tuple(chain.from_iterable(rows[start : start + size])))
                start += size
