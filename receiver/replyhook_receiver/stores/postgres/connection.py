"""One connection to PostgreSQL: how it is made, what has to be in force, and how the store's SQL runs on it."""

import contextlib
import os
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg import Connection, Pipeline, RawCursor
from psycopg.conninfo import conninfo_to_dict

from replyhook.errors import ConfigurationError
from replyhook_receiver.stores.postgres.spelling import spelled
from replyhook_receiver.stores.postgres.values import adapt, rows_by_name
from replyhook_receiver.stores.sql.connection import Values

CONNECT_SECONDS = 5
LOCK_MILLISECONDS = 3_000
STATEMENT_MILLISECONDS = 15_000
IDLE_MILLISECONDS = 5_000
"""How long a transaction may stand still: of a process that is stopped, or cut off, the others wait no longer."""
SILENCE_MILLISECONDS = 10_000
"""How long the other side may leave what was sent unacknowledged: a cable that is cut closes no connection."""

_OLDEST = 140_000
_PREPARED = 2_000
_UNREADABLE = (
    "database_url cannot be read: it must be like postgresql://user:password@host:5432/database, with special "
    "characters of the password as %-codes"
)
_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=password=)\S+")


def options_of(url: str) -> dict[str, Any]:
    """What psycopg connects with. Raises ``ConfigurationError``, which does not repeat the URL: it holds a password."""
    try:
        options = conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigurationError(_UNREADABLE) from None
    if _is_ambiguous(url):
        raise ConfigurationError(_UNREADABLE)
    return {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "replyhook",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE_MILLISECONDS,
        **options,
    }


def _is_ambiguous(url: str) -> bool:
    """Whether a password may have been taken for a host, a port or a database: those are shown in errors."""
    authority, _, rest = url.partition("://")[2].partition("/")
    return authority.count("@") > 1 or "@" in rest.partition("?")[0]


def shown_error(error: Exception, url: str) -> str:
    """What a database error says in one line, without what opens the database."""
    text = " ".join(str(error).split()) or type(error).__name__
    password = conninfo_to_dict(url).get("password")
    return text.replace(str(password), "***") if password else _PASSWORD.sub("***", text)


def named(error: Exception) -> str:
    """A database error without its message, which may hold a row's values: what kind it is, and where."""
    constraint = error.diag.constraint_name if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__} of {constraint}" if constraint else type(error).__name__


def connect(url: str, *, read_only: bool = False) -> Connection[Any]:
    """Open a connection with its time-outs set. Raises ``psycopg.Error``."""
    options = options_of(url)
    # By statements, not by start-up options: a pooler in between refuses those.
    connection = Connection.connect(**options, autocommit=True, cursor_factory=RawCursor, row_factory=rows_by_name)
    try:
        adapt(connection)
        connection.prepare_threshold = 2
        connection.prepared_max = _PREPARED
        connection.execute(
            b"SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false), "
            b"set_config('idle_in_transaction_session_timeout', $3, false), "
            b"set_config('default_transaction_read_only', $4, false), "
            b"set_config('default_transaction_isolation', $5, false)",
            (
                str(LOCK_MILLISECONDS),
                str(STATEMENT_MILLISECONDS),
                str(IDLE_MILLISECONDS),
                "on" if read_only else "off",
                "repeatable read" if read_only else "read committed",
            ),
        )
    except BaseException:
        connection.close()
        raise
    return connection


def cut_off(connection: Connection[Any] | None) -> None:
    """End what a connection waits for, from another thread: of a server that is frozen nothing ever comes."""
    with contextlib.suppress(psycopg.Error, OSError):
        if connection is not None and not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as link:
                link.shutdown(socket.SHUT_RDWR)


def check_in_force(connection: Connection[Any]) -> None:
    """See that a commit that is told of is on disk. Raises ``ConfigurationError`` saying what to do."""
    if connection.info.server_version < _OLDEST:
        raise ConfigurationError(
            f"PostgreSQL {connection.info.server_version // 10_000} is too old: it has to be 14 or newer"
        )
    for name in ("synchronous_commit", "fsync"):
        value = connection.execute(b"SELECT current_setting($1) AS value", (name,)).fetchone()
        if value is not None and value["value"] == "off":
            raise ConfigurationError(
                f"PostgreSQL runs with {name} = off: a crash would lose callbacks that were acknowledged. Set it to "
                "on, for this database or user too (ALTER DATABASE …, ALTER ROLE … SET), then start again"
            )


class LazyCursor:
    """What a statement came to. In a pipeline nothing is waited for until it is asked for."""

    __slots__ = ("_cursors", "_raw")

    def __init__(self, raw: "PostgreSQLRaw", cursors: list[RawCursor[Any]]) -> None:
        self._raw = raw
        self._cursors = cursors

    @property
    def rowcount(self) -> int:
        if any(cursor.rowcount < 0 for cursor in self._cursors):
            self._raw.wait()
        return sum(max(cursor.rowcount, 0) for cursor in self._cursors)

    @property
    def status(self) -> str | None:
        """What PostgreSQL says that it did."""
        return self._cursors[-1].statusmessage

    def fetchone(self) -> Any:
        return self._cursors[-1].fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursors[-1].fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursors[-1])


class PostgreSQLRaw:
    """A connection as the store's SQL uses it."""

    def __init__(self, connection: Connection[Any], pipeline: Pipeline | None = None) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self.made_work = False
        """Whether a statement may have given others something to do."""

    def execute(self, statement: str, values: Values = (), /) -> LazyCursor:
        return self.executemany(statement, (values,))

    def executemany(self, statement: str, rows: Iterable[Values], /) -> LazyCursor:
        found = spelled(statement)
        cursors = []
        for values in rows:
            cursor = self._connection.cursor()
            cursor.execute(found.text, found.values(values), binary=True)
            cursors.append(cursor)
        if found.makes_work and cursors:
            self.made_work = True
        return LazyCursor(self, cursors)  # type: ignore[arg-type] # the connection's cursor factory makes raw ones

    def wait(self) -> None:
        """Let everything that was sent be done. Raises what of it failed."""
        if self._pipeline is not None:
            self._pipeline.sync()
