"""What both engines are given to do, and what is looked at afterwards: plain statements on the bench's database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

KIND = "fetch_result"
"""The kind of task that stands for all: its end changes nothing but itself."""

CREATE = """
    CREATE TABLE bench_runs (subject TEXT NOT NULL, process INTEGER NOT NULL, attempt BIGINT NOT NULL,
        began DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION)
"""
BEGIN_RUN = """
    INSERT INTO bench_runs (subject, process, attempt, began) VALUES ($1, $2, $3, $4)
"""
_TASKS = """
    INSERT INTO tasks (kind, subject, state, attempts, due_ms, created_ms)
    SELECT %s, %s || lpad(number::text, 8, '0'), 'ready', 0, %s, %s FROM generate_series(1, %s) AS number
"""
_OPEN = """
    SELECT 1 FROM tasks WHERE kind IN (%s, 'notify') AND state IN ('ready', 'leased', 'held') AND due_ms <= %s LIMIT 1
"""


@contextmanager
def looking(url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection of the bench's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def prepare(url: str) -> None:
    """A database to begin with."""
    with looking(url) as connection:
        connection.execute(CREATE)


def now_ms() -> int:
    """The clock, as rows have it."""
    return round(time.time() * 1000)


def add_tasks(connection: "psycopg.Connection[Any]", prefix: str, count: int, *, due_ms: int | None = None) -> None:
    """So many tasks of ours, due now or then."""
    due = now_ms() if due_ms is None else due_ms
    connection.execute(_TASKS, (KIND, prefix, due, due, count))


def are_open(connection: "psycopg.Connection[Any]") -> bool:
    """Whether a task of ours that is due is not done."""
    return connection.execute(_OPEN, (KIND, now_ms())).fetchone() is not None


def runs(connection: "psycopg.Connection[Any]") -> list[tuple[Any, ...]]:
    """What was run: subject, process, attempt, begin and end."""
    return connection.execute(
        "SELECT subject, process, attempt, began, ended FROM bench_runs ORDER BY began"
    ).fetchall()
