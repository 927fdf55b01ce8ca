"""Copying a database into an empty one of either kind: in chunks, gone on with after a cut, and compared at last."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.schema_steps import COPY
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.holding import is_held

_MODULUS = 1 << 256
_MANY, _FEW = 500, 50
_HEAVY = frozenset({"callbacks", "notifications", "idempotency"})
_NOTE = f"""
    INSERT INTO {COPY} VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (what) DO UPDATE SET through = excluded.through, copied = excluded.copied, done = excluded.done
"""  # noqa: S608 - ours
_MADE_WITH_THE_SCHEMA = frozenset({"key_hashing"})

KEYS = {
    "jobs": ("id",),
    "assets": ("job_id",),
    "callbacks": ("id",),
    "events": ("key",),
    "nonces": ("provider", "account", "nonce"),
    "notifications": ("sequence",),
    "endpoints": ("id",),
    "deliveries": ("id",),
    "attempts": ("delivery_id", "number"),
    "held": ("delivery_id",),
    "places": ("place",),
    "tasks": ("kind", "subject"),
    "deadlines": ("job_id",),
    "last_calls": ("job_id",),
    "senders": ("provider", "account", "sender"),
    "relay_queue": ("provider", "account", "arrived_ms", "job_id"),
    "relay_refusals": ("job_id",),
    "idempotency": ("caller", "key"),
    "api_keys": ("id",),
    "key_hashing": ("only_row",),
    "pruning": ("what",),
    "kept_bodies": ("callback_id",),
    "erased": ("job_id",),
    "unwanted_videos": ("due_ms", "name"),
    "hold": ("one",),
    "audit": ("id",),
    "traces": ("job_id",),
}
"""What is copied, each table after those that it refers to, and the columns that a row is known by."""

NOT_COPIED = frozenset({"workers", "sessions", "probe", "replyhook_schema", COPY})
"""Who was at work and who was signed in, a row that is only ever touched, and what each database knows of itself."""


class Side(Protocol):
    """One of the two databases, which nobody else writes meanwhile."""

    name: str
    """What it is called, without what opens it."""

    emptying: str
    """The command that empties it, without what opens it."""

    @property
    def raw(self) -> Raw: ...

    def transaction(self) -> AbstractContextManager[Raw]:
        """One that is on disk when the context ends, and not there if that fails."""
        ...

    def tables(self) -> set[str]:
        """The names of all tables there, callbacks as one."""
        ...

    def insert(self, raw: Raw, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Write rows, as they were read on the other side."""
        ...

    def settle(self) -> None:
        """Let what counts on by itself go on after the rows that have been written."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How far a table is: ``rows`` of ``of``. ``digest`` where both sides have been compared."""

    table: str
    rows: int
    of: int
    digest: str | None = None


def copy(source: Side, target: Side, *, without_hold: bool = False) -> Iterator[Copied]:
    """Copy what is missing, then compare all of it; what is done is told as it is done.

    Raises ``ConfigurationError`` where the source is not on hold (unless ``without_hold``), where the target holds
    anything else, or where the two differ at the end.
    """
    _check_tables(source, target)
    if not without_hold:
        _check_hold(source)
    _begin(source, target)
    for table in KEYS:
        yield from _copy_table(source, target, table)
    target.settle()
    for table in KEYS:
        yield _compared(source, target, table)
    with target.transaction() as raw:
        raw.execute(f"DROP TABLE {COPY}")


def identity_of(raw: Raw) -> str:
    """What tells a database from all others: something secret that was made with it, hashed."""
    row = raw.execute("SELECT secret FROM key_hashing").fetchone()
    return hashlib.sha256(b"replyhook copy " + bytes(row["secret"])).hexdigest()


def _check_tables(source: Side, target: Side) -> None:
    for side in (source, target):
        unknown = side.tables() - set(KEYS) - NOT_COPIED
        if unknown:
            raise ConfigurationError(
                f"{side.name} has tables that are not ours: {', '.join(sorted(unknown))}. Nothing was copied: name a "
                "database, or a schema, of replyhook's own"
            )


def _check_hold(source: Side) -> None:
    """See that the copy, once it is served, begins no work before somebody has looked at it."""
    if not is_held(source.raw):
        raise ConfigurationError(
            f"{source.name} is not on hold: whoever serves the copy would begin its work at once. Nothing was copied: "
            "start the receiver on it again, run replyhook hold on, let what is under way end, stop the receiver, then "
            "copy. With --without-hold it is copied as it is"
        )


def _begin(source: Side, target: Side) -> None:
    """See that the target is empty, or what an earlier copy of the same source has left."""
    identity = identity_of(source.raw)
    if COPY in target.tables():
        begun = target.raw.execute(f"SELECT through FROM {COPY} WHERE what = ''").fetchone()  # noqa: S608 - ours
        if begun is None or begun["through"] != identity:
            raise ConfigurationError(
                f"{target.name} holds the beginning of a copy of another database: name another, or empty it first: "
                f"{target.emptying}"
            )
        return
    for table in KEYS:
        if table not in _MADE_WITH_THE_SCHEMA and target.raw.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608 - ours
            raise ConfigurationError(
                f"{target.name} is not empty (there are {table}): a copy needs an empty database, and one that was "
                f"finished is whole. If nothing of what is there is wanted: {target.emptying}"
            )
    with target.transaction() as raw:
        raw.execute(f"CREATE TABLE {COPY} (what TEXT PRIMARY KEY, through TEXT, copied BIGINT, done BIGINT)")
        raw.execute(f"INSERT INTO {COPY} VALUES ('', ?, 0, 0)", (identity,))  # noqa: S608 - ours
        for table in _MADE_WITH_THE_SCHEMA:
            raw.execute(f"DELETE FROM {table}")  # noqa: S608 - ours


def _copy_table(source: Side, target: Side, table: str) -> Iterator[Copied]:
    noted = f"SELECT through, copied, done FROM {COPY} WHERE what = ?"  # noqa: S608 - ours
    row = target.raw.execute(noted, (table,)).fetchone()
    through = msgspec.json.decode(row["through"]) if row and row["through"] else None
    copied, is_done = (row["copied"], bool(row["done"])) if row else (0, False)
    of = source.raw.execute(f"SELECT count(*) AS rows FROM {table}").fetchone()["rows"]  # noqa: S608 - ours
    columns, limit = _columns(source, target, table), _FEW if table in _HEAVY else _MANY
    while not is_done:
        rows = _read(source.raw, table, columns, through, limit)
        is_done, copied = len(rows) < limit, copied + len(rows)
        if rows:
            through = [rows[-1][columns.index(key)] for key in KEYS[table]]
        with target.transaction() as raw:
            target.insert(raw, table, columns, rows)
            raw.execute(_NOTE, (table, msgspec.json.encode(through).decode(), copied, int(is_done)))
        yield Copied(table=table, rows=copied, of=of)


def _compared(source: Side, target: Side, table: str) -> Copied:
    columns = _columns(source, target, table)
    (rows, digest), there = (digest_of(side.raw, table, columns) for side in (source, target))
    if (rows, digest) != there:
        raise ConfigurationError(
            f"the copy of {table} is not the same ({rows} rows here, {there[0]} there): {source.name} was changed "
            "meanwhile, or something is wrong with a disk. Empty the target, and copy again: {target.emptying}"
        )
    return Copied(table=table, rows=rows, of=rows, digest=digest)


def digest_of(raw: Raw, table: str, columns: Sequence[str]) -> tuple[int, str]:
    """How many rows there are, and a checksum of all of them, whatever their order."""
    total = count = 0
    through: Any = None
    limit = _FEW if table in _HEAVY else _MANY
    while True:
        rows = _read(raw, table, columns, through, limit)
        for row in rows:
            content = msgspec.msgpack.encode([_as_held(value) for value in row])
            total += int.from_bytes(hashlib.sha256(content).digest())
        count += len(rows)
        if len(rows) < limit:
            return count, f"{total % _MODULUS:064x}"
        through = [rows[-1][columns.index(key)] for key in KEYS[table]]


def _as_held(value: Any) -> Any:
    """A value as either database can hold it: PostgreSQL's text has no NUL."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _read(raw: Raw, table: str, columns: Sequence[str], through: Any, limit: int) -> list[tuple[Any, ...]]:
    keys = ", ".join(KEYS[table])
    after = f"WHERE ({keys}) > ({', '.join('?' for _ in KEYS[table])})" if through is not None else ""
    named = ", ".join(f'"{column}"' for column in columns)
    statement = f"SELECT {named} FROM {table} {after} ORDER BY {keys} LIMIT ?"  # noqa: S608 - ours
    return [tuple(row) for row in raw.execute(statement, (*(through or ()), limit)).fetchall()]


def _columns(source: Side, target: Side, table: str) -> list[str]:
    """A table's columns, in one order for both sides. Callbacks have a number too: the order in which they came."""
    here, there = (_columns_of(side.raw, table) for side in (source, target))
    if here != there:
        raise ConfigurationError(
            f"{table} has not the same columns in both databases ({', '.join(sorted(here ^ there))}): run "
            "replyhook db migrate on both"
        )
    return sorted(here)


def _columns_of(raw: Raw, table: str) -> set[str]:
    query = f"SELECT * FROM {table} LIMIT 1"  # noqa: S608 - ours
    row = raw.execute(f"SELECT x.* FROM (SELECT 1 AS one) AS o LEFT JOIN ({query}) AS x ON 1 = 1").fetchone()  # noqa: S608
    return set(row.keys()) | ({"rowid"} if table == "callbacks" else set())
