"""What a name stands for: each kind of name by an index, or by the time that an id begins with."""

from collections.abc import Iterator
from itertools import islice

from replyhook.ids import TIME_LENGTH, is_id, made_at_ms
from replyhook_receiver.stores.history import Found
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.owners import is_users

_SLACK_MS = 10_000
"""Notifications are written so much after what they tell of, nearly always."""
_LOOKED_AT = 20_000
"""So many notifications are looked at for one whose id is known."""


def found(raw: Raw, name: str, *, user: str | None, limit: int) -> list[Found]:
    """At most ``limit`` of what is called so; only ``user``'s, where one is given."""
    return list(islice((each for each in _called(raw, name, user, limit) if _is_told(raw, each, user)), limit))


def _is_told(raw: Raw, found: Found, user: str | None) -> bool:
    if user is None:
        return True
    if found.what == "callback":
        return is_users(raw, Thing.CALLBACK, found.id, user)
    if found.what == "delivery":
        return is_users(raw, Thing.DELIVERY, found.id, user)
    return found.job_id is not None and is_users(raw, Thing.JOB, found.job_id, user)


def _called(raw: Raw, name: str, user: str | None, limit: int) -> Iterator[Found]:
    for row in raw.execute("SELECT id FROM jobs WHERE id = ?", (name,)):
        yield Found(what="job", id=row["id"], job_id=row["id"])
    came_with = f"cb{name.removeprefix('evt')}" if name.startswith("evt_") else name
    for row in raw.execute("SELECT id, job_id FROM callbacks WHERE id = ?", (came_with,)):
        yield Found(what="callback", id=row["id"], job_id=row["job_id"])
    statement = (
        "SELECT d.id, n.job_id FROM deliveries d JOIN notifications n ON n.sequence = d.notification WHERE d.id = ?"
    )
    for row in raw.execute(statement, (name,)):
        yield Found(what="delivery", id=row["id"], job_id=row["job_id"])
    if is_id("ntf", name):
        yield from _notification(raw, name)
    statement = """
        SELECT id FROM jobs WHERE reference = :name AND (CAST(:user AS TEXT) IS NULL OR "user" = :user)
        ORDER BY id DESC LIMIT :limit
    """
    for row in raw.execute(statement, {"name": name, "user": user, "limit": limit}):
        yield Found(what="reference", id=row["id"], job_id=row["id"])
    for provider, account in _accounts(raw):
        statement = "SELECT id FROM jobs WHERE provider = ? AND account = ? AND provider_job_id = ?"
        for row in raw.execute(statement, (provider, account, name)):
            yield Found(what="provider_job_id", id=row["id"], job_id=row["id"])


def _accounts(raw: Raw) -> Iterator[tuple[str, str]]:
    """Every account with a job that its provider has named: one step through the index for each, not a scan."""
    last = ("", "")
    statement = """
        SELECT provider, account FROM jobs WHERE provider_job_id IS NOT NULL AND (provider, account) > (?, ?)
        ORDER BY provider, account LIMIT 1
    """
    while row := raw.execute(statement, last).fetchone():
        last = (row["provider"], row["account"])
        yield last


def _notification(raw: Raw, name: str) -> Iterator[Found]:
    """A notification by its id, which has no index: by its deliveries, whose ids have the same time; by its place."""
    time = name.removeprefix("ntf_")[:TIME_LENGTH]
    statement = """
        SELECT n.id, n.job_id FROM deliveries d JOIN notifications n ON n.sequence = d.notification
        WHERE d.id >= ? AND d.id < ? AND n.id = ? LIMIT 1
    """
    row = raw.execute(statement, (f"dlv_{time}", f"dlv_{time}z", name)).fetchone()
    if row is None:
        statement = f"""
            SELECT n.id, n.job_id FROM (
                SELECT id, job_id FROM notifications WHERE sequence >= ? ORDER BY sequence LIMIT {_LOOKED_AT}
            ) n WHERE n.id = ?
        """  # noqa: S608 - a number of ours
        row = raw.execute(statement, (_written_since(raw, made_at_ms(name) - _SLACK_MS), name)).fetchone()
    if row is not None:
        yield Found(what="notification", id=row["id"], job_id=row["job_id"])


def _written_since(raw: Raw, milliseconds: int) -> int:
    """The number of the first notification that was written then or later: they are numbered as they are written."""
    ends = "SELECT coalesce(min(sequence), 1) AS low, coalesce(max(sequence), 0) AS high FROM notifications"
    row = raw.execute(ends).fetchone()
    low, high = int(row["low"]), int(row["high"])
    at = "SELECT sequence, created_ms FROM notifications WHERE sequence >= ? ORDER BY sequence LIMIT 1"
    while low < high:
        middle = (low + high) // 2
        row = raw.execute(at, (middle,)).fetchone()
        if row is None or row["created_ms"] >= milliseconds:
            high = middle
        else:
            low = row["sequence"] + 1
    return low
