"""The partitions of callbacks' bodies, one a day: made ahead of time, and dropped whole."""

from datetime import UTC, datetime, timedelta

from replyhook.ids import new_id
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.unfinished import UNFINISHED

AHEAD = timedelta(days=14)
"""So long partitions are made ahead: a receiver that runs makes more, with every round of throwing away."""

_DAY = timedelta(days=1)
_PREFIX = "callback_bodies_"
_THERE = """
    SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST('callback_bodies' AS regclass) ORDER BY c.relname
"""
# Of sessions of others' it may not be told since when they read.
_BUSY = """
    SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE c.relname LIKE 'callback_bodies%' AND l.granted AND l.pid <> pg_backend_pid()
        AND coalesce(a.xact_start, '-infinity') < clock_timestamp() - interval '1 second' LIMIT 1
"""
_ELSEWHERE = "SELECT 1 FROM callback_bodies_of_other_days WHERE callback_id >= ? AND callback_id < ? LIMIT 1"
OTHER_DAYS = "callback_bodies_of_other_days"


def can_be_changed(raw: Raw) -> bool:
    """Whether nobody has been reading bodies for long, as a dump does: who waits for that holds up everybody."""
    return raw.execute(_BUSY).fetchone() is None


def make_ahead(raw: Raw, now: datetime) -> None:
    """See that there are partitions for the days to come, and for today."""
    there = set(names(raw))
    if not can_be_changed(raw):
        return
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for begin in (day + number * _DAY for number in range(AHEAD.days)):
        name, first, end = f"{_PREFIX}{begin:%Y%m%d}", _first_id(begin), _first_id(begin + _DAY)
        if name not in there and raw.execute(_ELSEWHERE, (first, end)).fetchone() is None:
            raw.execute(f"CREATE TABLE {name} PARTITION OF callback_bodies FOR VALUES FROM ('{first}') TO ('{end}')")


def past(raw: Raw, before: datetime) -> list[str]:
    """The partitions all of whose days are over before ``before``."""
    last = f"{_PREFIX}{before.astimezone(UTC) - _DAY:%Y%m%d}"
    return [name for name in names(raw) if name != OTHER_DAYS and name <= last]


def count(raw: Raw, name: str) -> int:
    """How many bodies a partition holds."""
    return int(raw.execute(f"SELECT count(*) AS bodies FROM {name}").fetchone()["bodies"])  # noqa: S608 - our own name


def thin(raw: Raw, name: str, most: int) -> tuple[int, bool]:
    """Take bodies out of a partition that work still pending needs others of; how many, and whether more are to go.

    Those that are needed are noted: they go when they are needed no more.
    """
    needed = f"""
        SELECT b.callback_id FROM {name} b JOIN callback_ledger l ON l.id = b.callback_id JOIN jobs j ON j.id = l.job_id
        WHERE {UNFINISHED}
    """  # noqa: S608 - our own names
    raw.execute(f"INSERT INTO kept_bodies (callback_id) {needed} ON CONFLICT DO NOTHING")
    removed = raw.execute(
        f"""
        DELETE FROM {name} WHERE callback_id IN (
            SELECT b.callback_id FROM {name} b
            WHERE NOT EXISTS (SELECT 1 FROM kept_bodies k WHERE k.callback_id = b.callback_id) LIMIT ?)
        """,  # noqa: S608
        (most,),
    ).rowcount
    return removed, removed == most


def is_needed(raw: Raw, name: str) -> bool:
    """Whether work that is still pending needs any of a partition's bodies."""
    found = f"""
        SELECT 1 FROM {name} b JOIN callback_ledger l ON l.id = b.callback_id JOIN jobs j ON j.id = l.job_id
        WHERE {UNFINISHED} LIMIT 1
    """  # noqa: S608
    return raw.execute(found).fetchone() is not None


def drop(raw: Raw, name: str) -> None:
    """Drop a partition, with all that is in it."""
    raw.execute(f"DELETE FROM kept_bodies WHERE callback_id IN (SELECT callback_id FROM {name})")  # noqa: S608
    raw.execute(f"DROP TABLE {name}")


def names(raw: Raw) -> list[str]:
    """The partitions that there are."""
    return [row["name"] for row in raw.execute(_THERE)]


def _first_id(when: datetime) -> str:
    """What sorts before all ids of that moment and later ones, and after those before it."""
    return new_id("cb", at=when.timestamp())[: len("cb_") + 10]
