"""The rows that callbacks left, copied: into nothing, to see what the store itself can take, or a million times."""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from replyhook_receiver.bench.traffic import BenchJob

TABLES = ("jobs", "callback_ledger", "callback_bodies", "events", "assets", "notifications", "tasks")
_BY = {"jobs": "id", "callback_bodies": "callback_id", "tasks": "subject"} | dict.fromkeys(
    ("callback_ledger", "events", "assets", "notifications"), "job_id"
)
_COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = %s AND is_identity = 'NO' ORDER BY ordinal_position
"""
_NEW_ID = "left({0}, length({0}) - 16) || substr(md5({0} || g.n), 1, 16)"
_MANY = {  # by table and column: what is another in each copy
    ("jobs", "id"): _NEW_ID.format("id"),
    ("jobs", "provider_job_id"): _NEW_ID.format("provider_job_id"),
    ("callback_ledger", "id"): _NEW_ID.format("id"),
    ("callback_ledger", "job_id"): _NEW_ID.format("job_id"),
    ("callback_ledger", "event_key"): "event_key || '-' || g.n",
    ("callback_bodies", "callback_id"): _NEW_ID.format("callback_id"),
    ("events", "key"): "key || '-' || g.n",
    ("events", "job_id"): _NEW_ID.format("job_id"),
    ("events", "callback_id"): _NEW_ID.format("callback_id"),
    ("assets", "job_id"): _NEW_ID.format("job_id"),
    ("assets", "status"): "'stored'",
    ("notifications", "sequence"): "(SELECT max(sequence) FROM notifications) * g.n + sequence",
    ("notifications", "id"): _NEW_ID.format("id"),
    ("notifications", "job_id"): _NEW_ID.format("job_id"),
    ("tasks", "subject"): _NEW_ID.format("subject"),
    ("tasks", "state"): "'done'",
}


def multiply(connection: "psycopg.Connection[Any]", wanted: int) -> int:
    """Add finished jobs like those that are there, with all their rows, up to ``wanted``; how many there are then."""
    copies = max(wanted // max(_jobs(connection), 1) - 1, 0)
    with connection.transaction():
        # Only what has ended: what is still to be called back would be a job under way.
        connection.execute(
            "CREATE TEMPORARY TABLE ended ON COMMIT DROP AS SELECT id FROM jobs WHERE finished_ms IS NOT NULL"
        )
        for table in TABLES:
            _copy_many(connection, table, copies)
    return _jobs(connection)


def register_like(connection: "psycopg.Connection[Any]", like: str, jobs: Sequence[BenchJob]) -> None:
    """Register jobs as ``like``, which was registered by our own rules: the same rows with other ids."""
    ids = [job.id for job in jobs]
    theirs = [job.provider_job_id for job in jobs]
    with connection.transaction():
        for table, named in (
            ("jobs", {"id": "new.id", "provider_job_id": "new.theirs"}),
            ("deadlines", {"job_id": "new.id"}),
        ):
            names = [row[0] for row in connection.execute(_COLUMNS, (table,))]
            connection.execute(
                sql.SQL(
                    "INSERT INTO {} ({}) SELECT {} FROM {} old, unnest({}::text[], {}::text[]) AS new (id, theirs) "
                    "WHERE old.{} = {}"
                ).format(
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, names)),
                    sql.SQL(", ").join(
                        sql.SQL(named[name]) if name in named else sql.Identifier("old", name) for name in names
                    ),
                    sql.Identifier(table),
                    sql.Placeholder(),
                    sql.Placeholder(),
                    sql.Identifier(next(iter(named))),
                    sql.Placeholder(),
                ),
                (ids, theirs, like),
            )


def _jobs(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(*) FROM jobs WHERE finished_ms IS NOT NULL").fetchone()
    return int(row[0]) if row is not None else 0


def _copy_many(connection: "psycopg.Connection[Any]", table: str, copies: int) -> None:
    names = [row[0] for row in connection.execute(_COLUMNS, (table,))]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}, generate_series(1, {}) AS g (n) {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(_expression(table, name) for name in names),
            sql.Identifier(table),
            sql.Literal(copies),
            sql.SQL("WHERE id IN (SELECT id FROM ended)" if table == "jobs" else ""),
        )
    )


def _expression(table: str, name: str) -> sql.Composable:
    other = _MANY.get((table, name))
    return sql.Identifier(name) if other is None else sql.SQL(other)


def set_aside(connection: "psycopg.Connection[Any]") -> int:
    """Take all rows out into tables beside, numbered by their callbacks; how many callbacks there are."""
    for table in TABLES:
        connection.execute(
            sql.SQL("CREATE TABLE {} AS SELECT *, dense_rank() OVER (ORDER BY {}) AS place FROM {}").format(
                _aside(table), sql.Identifier(_BY[table]), sql.Identifier(table)
            )
        )
        connection.execute(sql.SQL("CREATE INDEX ON {} (place)").format(_aside(table)))
    tables = sql.SQL(", ").join(map(sql.Identifier, TABLES))
    connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(tables))
    connection.execute("VACUUM ANALYZE")
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(_aside("callback_ledger"))).fetchone()
    return int(row[0]) if row is not None else 0


def insert_again(connection: "psycopg.Connection[Any]", count: int, batch: int) -> float:
    """Insert them again, so many callbacks' rows a commit, and nothing else; the seconds that it took."""
    statements = []
    for table in TABLES:
        columns = sql.SQL(", ").join(sql.Identifier(row[0]) for row in connection.execute(_COLUMNS, (table,)))
        statements.append(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE place > %s AND place <= %s").format(
                sql.Identifier(table), columns, columns, _aside(table)
            )
        )
    began = time.perf_counter()
    for first in range(0, count, batch):
        with connection.pipeline(), connection.transaction():
            for statement in statements:
                connection.execute(statement, (first, min(first + batch, count)), prepare=True)
    return time.perf_counter() - began


def _aside(table: str) -> sql.Identifier:
    return sql.Identifier(f"aside_{table}")
