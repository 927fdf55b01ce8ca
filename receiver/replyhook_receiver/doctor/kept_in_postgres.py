"""What the receiver keeps, where that is PostgreSQL: whether it can be reached, how soon it answers, its schema."""

import time
from collections.abc import Iterator

from replyhook.errors import ConfigurationError
from replyhook.urls import shown_url
from replyhook_receiver.doctor.findings import Finding, fail, ok, warn
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.stores.sql.connection import Row
from replyhook_receiver.stores.workers import SILENT_AFTER

_SLOW_SECONDS = 0.05
_WORKERS_SINCE = 12


def check_postgres(url: str) -> Iterator[Finding]:
    """The database, how far away it is, and its schema."""
    try:
        from replyhook_receiver.stores.postgres import upkeep
    except ImportError as error:
        yield fail("database", f"PostgreSQL needs more ({error})", how_to_install("postgres"))
        return
    try:
        schema, newest = upkeep.examine(url)
        began = time.perf_counter()
        upkeep.rows(url, "SELECT 1 AS one")
        seconds = time.perf_counter() - began
    except ConfigurationError as error:
        yield fail("database", str(error), "is database_url right, and does PostgreSQL run?")
        return
    shown = shown_url(url)
    yield ok("database", f"{shown}: synchronous_commit and fsync are in force, as the receiver opens it")
    took = f"it takes {seconds * 1000:.0f} ms to connect and ask"
    if seconds > _SLOW_SECONDS:
        yield warn("distance", took, "put receivers and PostgreSQL into the same data centre: each commit waits for it")
    else:
        yield ok("distance", took)
    if schema > newest:
        found = f"the database is of a newer replyhook (schema {schema}, this one's is {newest})"
        yield fail("schema", found, "upgrade replyhook; this version does not start with it")
    elif schema == 0:
        yield ok("schema", "there is none yet: `replyhook serve` makes it")
    elif schema < newest:
        found = f"it is behind (schema {schema}, newest {newest})"
        yield warn("schema", found, "back it up (pg_dump), then restart `replyhook serve`: it takes the steps")
    else:
        yield ok("schema", f"{schema}, the newest")
    yield ok("receivers", "any number of them may have this database, each with the same settings")
    if schema >= _WORKERS_SINCE:
        yield _workers(url)


def _workers(url: str) -> Finding:
    since = str(round((time.time() - SILENT_AFTER.total_seconds()) * 1000))
    statement = "SELECT host, count(*) AS many FROM workers WHERE beat_ms > CAST(? AS BIGINT) GROUP BY host ORDER BY 1"
    found = rows_in_postgres(url, statement, since)
    if not found:
        words = "nobody does the work: callbacks are kept, and wait for their downloads and notifications"
        return warn("workers", words, "start `replyhook worker`, or `replyhook serve` without --no-worker")
    hosts = ", ".join(f"{row['many']} on {row['host']}" for row in found)
    return ok("workers", f"at work: {hosts}")


def rows_in_postgres(url: str, statement: str, *values: str) -> list[Row]:
    """What a question to the database finds; nothing where it cannot be asked."""
    try:
        from replyhook_receiver.stores.postgres import upkeep

        return upkeep.rows(url, statement, *values)
    except (ImportError, ConfigurationError):
        return []
