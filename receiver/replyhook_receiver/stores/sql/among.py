"""Statements about the rows of a list, which are mostly one: then it is named as such, which costs SQLite far less."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from replyhook_receiver.stores.sql.connection import Cursor, Raw
from replyhook_receiver.stores.sql.rows import as_list


def run_among(raw: Raw, statement: str, *values: Any, ids: Sequence[str]) -> Cursor:
    """Run a statement that ends its values with a list, ``IN (SELECT value FROM json_each(?))``."""
    if len(ids) == 1:
        return raw.execute(of_one(statement), (*values, ids[0]))
    return raw.execute(statement, (*values, as_list(ids)))


@lru_cache(maxsize=256)
def of_one(statement: str) -> str:
    """The same where each of its lists is of one only, which is given instead."""
    return statement.replace("(SELECT value FROM json_each(", "((")
