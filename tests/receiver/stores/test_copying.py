"""A copy holds every row of every table as it was, goes on where it was cut, and refuses what would spoil it."""

import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.chosen import copy_side
from replyhook_receiver.stores.copying import KEYS, NOT_COPIED, copy, digest_of
from replyhook_receiver.stores.postgres.connection import connect
from replyhook_receiver.stores.postgres.copying import PostgreSQLSide
from replyhook_receiver.stores.postgres.upkeep import migrate as migrate_postgres
from replyhook_receiver.stores.schema_steps import COPY
from replyhook_receiver.stores.sqlite import upkeep
from replyhook_receiver.stores.sqlite.serving_lock import held
from tests.receiver.postgres_server import PASSWORD, PostgreSQLServer

ROWS = 510  # more than one batch of any table
ONLY_ONE = {"hold", "key_hashing"}


@pytest.fixture
def empty_url(postgres_server: PostgreSQLServer) -> Iterator[str]:
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture
def source(tmp_path: Path, filled: Path) -> str:
    """The URL of a SQLite database with rows of all kinds."""
    path = tmp_path / "source" / "replyhook.db"
    path.parent.mkdir(mode=0o700)
    shutil.copy(filled, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one, for all tests to copy."""
    path = tmp_path_factory.mktemp("filled") / "replyhook.db"
    upkeep.migrate(path)
    luck = random.Random(7)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA foreign_keys = ON")
        for table in KEYS:
            if table != "key_hashing":
                fill(raw, table, 1 if table in ONLY_ONE else ROWS, luck)
    return path


def fill(raw: sqlite3.Connection, table: str, rows: int, luck: random.Random) -> None:
    """Rows as odd as the schema allows, each of which refers to a row that is there."""
    columns = raw.execute(f"PRAGMA table_info({table})").fetchall()
    refers = {row[3]: (row[2], row[4]) for row in raw.execute(f"PRAGMA foreign_key_list({table})")}
    there = {own: [row[0] for row in raw.execute(f"SELECT {to} FROM {of}")] for own, (of, to) in refers.items()}  # noqa: S608
    marks = ", ".join("?" for _ in columns)
    for number in range(rows):
        row: dict[str, Any] = {
            name: there[name][number] if name in there else value_of(kind, number, not not_null and not key, luck)
            for _, name, kind, not_null, _, key in columns
        }
        if table == "callbacks" and number % 5 == 0:  # dropped
            row |= {"headers": "[]", "body": b"", "raw_bytes": number}
        if table == "hold":
            row["one"] = 1
        raw.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row.values()))  # noqa: S608 - our own names


def value_of(kind: str, number: int, may_be_missing: bool, luck: random.Random) -> object:
    if may_be_missing and luck.random() < 0.3:
        return None
    if kind == "INTEGER":
        return number * 7 + 1 if luck.random() < 0.9 or not may_be_missing else 2**53 + number
    odd = luck.choice(["plain", "", "é\u4e2d\U0001f3ac", "a'b\"c\\ %s ?1 :x $1", "n\x00ul", "x" * 3000, "line\nline\t"])
    return f"{odd}{number:06d}".encode() if kind == "BLOB" else f"{number:06d}{odd}"


def copied(
    source: str, target: str, *, steps: int | None = None, without_hold: bool = False
) -> dict[str, tuple[int, str]]:
    """Copy, or only begin to; the rows and checksums by table."""
    found = {}
    with copy_side(source, is_target=False) as read, copy_side(target, is_target=True) as written:
        for number, step in enumerate(copy(read, written, without_hold=without_hold), 1):
            if step.digest is not None:
                found[step.table] = (step.rows, step.digest)
            if number == steps:
                break
    return found


def tables_of(url: str) -> set[str]:
    with closing(connect(url)) as connection:
        return PostgreSQLSide(connection, "it").tables()


def test_every_table_of_both_schemas_is_copied_or_known_not_to_be(tmp_path: Path, empty_url: str) -> None:
    migrate_postgres(empty_url)
    upkeep.migrate(tmp_path / "replyhook.db")
    with copy_side(f"sqlite:///{tmp_path}/replyhook.db", is_target=False) as side:
        assert set(KEYS) <= side.tables() <= set(KEYS) | NOT_COPIED
    assert set(KEYS) <= tables_of(empty_url) <= set(KEYS) | NOT_COPIED


def test_rows_of_every_kind_come_to_postgres_and_back_as_they_were(tmp_path: Path, source: str, empty_url: str) -> None:
    there = copied(source, empty_url)
    assert {rows for rows, _ in there.values()} == {1, ROWS}
    assert COPY not in tables_of(empty_url)
    back = f"sqlite:///{tmp_path}/back/replyhook.db"
    assert copied(empty_url, back) == there
    assert (tmp_path / "back" / "replyhook.db").stat().st_mode & 0o077 == 0
    with closing(connect(empty_url)) as connection:
        (first,) = connection.execute(b"SELECT min(rowid) AS first FROM callback_ledger").fetchall()
        (following,) = connection.execute(
            b"SELECT nextval(pg_get_serial_sequence('callback_ledger', 'rowid')) AS number"
        ).fetchall()
    assert (first["first"], following["number"]) == (1, ROWS + 1)


@pytest.mark.parametrize("steps", [1, 5, 30, 70])
def test_a_copy_that_was_cut_goes_on_and_is_not_served_before_it_is_whole(
    source: str, empty_url: str, steps: int
) -> None:
    assert len(copied(source, empty_url, steps=steps)) < len(KEYS)
    with pytest.raises(ConfigurationError, match="run the same replyhook db copy again"):
        migrate_postgres(empty_url)
    with closing(connect(empty_url)) as connection:
        before = connection.execute(b"SELECT count(*) AS rows FROM jobs").fetchone()
    assert before is not None
    assert before["rows"] > 0
    assert set(copied(source, empty_url)) == set(KEYS)
    assert migrate_postgres(empty_url) == []


def test_a_copy_of_another_database_is_not_gone_on_with(tmp_path: Path, source: str, empty_url: str) -> None:
    copied(source, empty_url, steps=3)
    upkeep.migrate(tmp_path / "other.db")
    with pytest.raises(ConfigurationError, match="the beginning of a copy of another database"):
        copied(f"sqlite:///{tmp_path}/other.db", empty_url, without_hold=True)


def test_a_target_with_rows_in_it_is_refused_and_the_command_that_is_named_empties_it(
    tmp_path: Path, source: str, empty_url: str, postgres_server: PostgreSQLServer
) -> None:
    env = {"PATH": f"{postgres_server.programs}{os.pathsep}{os.environ['PATH']}", "DATABASE_URL": empty_url}
    for target in (empty_url, f"sqlite:///{tmp_path}/a target/replyhook.db"):
        copied(source, target)
        with pytest.raises(ConfigurationError, match="is not empty") as refused:
            copied(source, target)
        assert PASSWORD not in str(refused.value)
        emptying = str(refused.value).partition("If nothing of what is there is wanted: ")[2]
        subprocess.run(["sh", "-euc", emptying], env=env, check=True, capture_output=True)  # noqa: S607 - the one on the path
        assert copied(source, target)


def test_a_source_whose_work_would_go_on_at_once_is_refused_unless_that_is_wanted(source: str, empty_url: str) -> None:
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as raw, raw:
        raw.execute("DELETE FROM hold")
    with pytest.raises(ConfigurationError, match=r"is not on hold.*replyhook hold on.*--without-hold"):
        copied(source, empty_url)
    assert COPY not in tables_of(empty_url), "something was begun"
    assert copied(source, empty_url, without_hold=True)["hold"][0] == 0


def test_a_row_that_differs_is_found(source: str, empty_url: str) -> None:
    with copy_side(source, is_target=False) as read, copy_side(empty_url, is_target=True) as written:
        steps = copy(read, written)
        while next(steps).table != "hold":  # the last that is copied
            pass
        written.raw.execute("UPDATE tasks SET problem = 'x' WHERE due_ms = 8")
        with pytest.raises(ConfigurationError, match="the copy of tasks is not the same"):
            list(steps)
    assert COPY in tables_of(empty_url)


def test_a_checksum_does_not_depend_on_the_order_and_does_on_each_value(source: str) -> None:
    path = Path(source.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.row_factory = sqlite3.Row
        columns = ["kind", "subject", "attempts"]
        before = digest_of(raw, "tasks", columns)
        raw.execute("UPDATE tasks SET attempts = attempts + 1 WHERE due_ms = 8")
        assert digest_of(raw, "tasks", columns) != before
        raw.execute("UPDATE tasks SET attempts = attempts - 1 WHERE due_ms = 8")
        assert digest_of(raw, "tasks", columns) == before


def test_a_source_that_is_served_is_refused_and_so_is_a_postgres_that_somebody_uses(
    source: str, empty_url: str
) -> None:
    with (
        held(Path(source.removeprefix("sqlite:///"))),
        pytest.raises(ConfigurationError, match=r"is served by process .*replyhook hold on"),
    ):
        copied(source, empty_url)
    with closing(connect(empty_url)), pytest.raises(ConfigurationError, match="is used by receivers or workers"):
        copied(source, empty_url)
    with ExitStack() as stack:
        stack.enter_context(copy_side(empty_url, is_target=True))
        with pytest.raises(ConfigurationError, match="by somebody else at this moment"):
            copied(source, empty_url)


@pytest.mark.parametrize("url", ["", "mysql://x", "sqlite://x", f"postgresql://u:{PASSWORD}@[bad/x"])
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str, source: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the database to copy to must (be|name)") as refused:
        copied(source, url)
    assert PASSWORD not in str(refused.value)
