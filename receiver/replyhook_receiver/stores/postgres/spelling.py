"""How PostgreSQL spells the few things that the store's SQL says as SQLite does. Each statement is read once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

_ONE_OF = re.compile(r"\bIN \(SELECT value FROM json_each\((\?\d*)\)\)")
_HINT = re.compile(r"\bINDEXED BY \w+")
_INSTR = re.compile(r"\binstr\(")
# Texts, quoted names, comments and casts are passed over as they are.
_VALUE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|::|LIST\((\?\d*)\)|\?(\d*)|(?<!\w):([a-z_]+)")
_MAKES_WORK = re.compile(
    r"^\s*(?:INSERT INTO (?:tasks|notifications)\b|UPDATE tasks SET state = 'ready'|DELETE FROM hold\b)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelled:
    """A statement as PostgreSQL takes it.

    ``names`` are those of its values where they have names; ``lists`` the places of values that are lists as JSON.
    ``makes_work`` says that others may have something to do after it.
    """

    text: bytes
    names: tuple[str, ...]
    lists: frozenset[int]
    makes_work: bool

    def values(self, given: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any]:
        """The values in the order of their places."""
        values = [given[name] for name in self.names] if isinstance(given, Mapping) else given
        if not self.lists:
            return values
        return [msgspec.json.decode(value) if place in self.lists else value for place, value in enumerate(values, 1)]


@lru_cache(maxsize=4096)
def spelled(statement: str) -> Spelled:
    """``statement`` as PostgreSQL takes it."""
    text = _INSTR.sub("strpos(", _HINT.sub("", statement))
    text = _ONE_OF.sub(r"= ANY (CAST(LIST(\1) AS TEXT[]))", text)
    names: dict[str, int] = {}
    lists: set[int] = set()
    last = 0

    def place(found: re.Match[str]) -> str:
        nonlocal last
        listed, number, name = found.groups()
        if name is not None:
            return f"${names.setdefault(name, len(names) + 1)}"
        if listed is None and number is None:
            return found.group()
        digits = number if listed is None else listed[1:]
        at = int(digits) if digits else last + 1
        last = max(last, at)
        if listed is not None:
            lists.add(at)
        return f"${at}"

    text = _VALUE.sub(place, text)
    return Spelled(
        text=text.encode(),
        names=tuple(names),
        lists=frozenset(lists),
        makes_work=_MAKES_WORK.search(statement) is not None,
    )
