"""How the store's SQL is spelled for PostgreSQL, and that it says nothing that means another thing there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import replyhook_receiver.stores.sql as shared
from replyhook_receiver.stores.schema_steps import newest

pytest.importorskip("psycopg", reason="the extra [postgres] is not installed")

from replyhook_receiver.stores.postgres.spelling import spelled


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT ? , ?", "SELECT $1 , $2"),
        ("SELECT ?2, ?1, ?", "SELECT $2, $1, $3"),
        ("WHERE a = :a AND b = :b OR a <> :a", "WHERE a = $1 AND b = $2 OR a <> $1"),
        ("SELECT '?', ':a', \"?\" -- what is ? here\n, ?", "SELECT '?', ':a', \"?\" -- what is ? here\n, $1"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"),
        ("SELECT x::text, ?", "SELECT x::text, $1"),
        ("SELECT 100 % ?", "SELECT 100 % $1"),
        ("FROM tasks t INDEXED BY relays_held JOIN", "FROM tasks t  JOIN"),
        ("WHERE instr(a, ?) > 0", "WHERE strpos(a, $1) > 0"),
        (
            "WHERE a = ? AND id IN (SELECT value FROM json_each(?)) AND b = ?",
            "WHERE a = $1 AND id = ANY (CAST($2 AS TEXT[])) AND b = $3",
        ),
    ],
)
def test_a_statement_is_spelled(statement: str, text: str) -> None:
    assert spelled(statement).text.decode() == text


def test_values_come_in_the_order_of_their_places() -> None:
    assert spelled("a = :a AND b = :b").values({"b": 2, "a": 1, "more": 3}) == [1, 2]
    assert list(spelled("?, ?").values((1, 2))) == [1, 2]
    assert spelled("id IN (SELECT value FROM json_each(?)) AND x = ?").values(('["a", "b"]', 2)) == [["a", "b"], 2]


@pytest.mark.parametrize(
    ("statement", "makes_work"),
    [
        ("INSERT INTO tasks (kind) VALUES (?)", True),
        ("\n    INSERT INTO notifications (sequence) VALUES (?)", True),
        ("UPDATE tasks SET state = 'ready', due_ms = ? WHERE kind = ?", True),
        ("DELETE FROM hold", True),
        ("UPDATE tasks SET state = 'leased', attempts = ?", False),
        ("SELECT 1 FROM tasks WHERE state = 'ready'", False),
        ("SELECT 1 FROM hold", False),
    ],
)
def test_only_what_gives_others_something_to_do_nudges_them(statement: str, makes_work: bool) -> None:
    assert spelled(statement).makes_work is makes_work


def test_both_databases_have_taken_the_same_steps() -> None:
    assert newest("postgres") == newest("sqlite")


def _texts() -> Iterator[tuple[str, str]]:
    for path in sorted(Path(shared.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, node.value


_IS_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|AND|FROM)\b|[=<>] [?:]")
_BARE_USER = re.compile(r"(?<![\w:'\"])user(?![\w'\"])")


def test_the_column_user_is_quoted_everywhere_since_postgres_means_another_thing_by_it() -> None:
    """Bare, it is who is connected: no error, and a wrong answer."""
    bare = [(name, text) for name, text in _texts() if _IS_SQL.search(text) and _BARE_USER.search(text)]
    assert not bare


@pytest.mark.parametrize(
    "said",
    [r"\brandomblob\(", r"\bjson_(?!each)\w+\(", r"\bsqlite_", r"\bPRAGMA\b", r"[^<>!=]=\s*x'", r"\bIS (NOT )?[?:]"],
)
def test_what_only_sqlite_understands_is_not_said(said: str) -> None:
    found = [(name, text) for name, text in _texts() if _IS_SQL.search(text) and re.search(said, text)]
    assert not found
