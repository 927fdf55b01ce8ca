"""Endpoints in the database: rows of one table, with their secrets and headers as JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from replyhook.ids import new_id
from replyhook_receiver.endpoints import (
    BY_HAND,
    NOT_IN_SETTINGS,
    PAUSED_FOR,
    REMOVED,
    Endpoint,
    EndpointChange,
    EndpointOrigin,
    NewEndpoint,
    SigningSecret,
    rotated,
)
from replyhook_receiver.errors import EndpointConflict, UnknownEndpoint
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.kept import KEPT_TOO_LONG, give_up_kept
from replyhook_receiver.stores.sql.places import leave
from replyhook_receiver.stores.sql.rows import from_ms, secrets_from, to_json, to_ms, types_from
from replyhook_receiver.stores.sql.tasks import NewTask, add_tasks

MAX_STANDING = 1_000  # they are read with every callback


class SQLEndpoints:
    """The ``Endpoints`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, endpoint: NewEndpoint, *, now: datetime) -> Endpoint:
        def work(raw: Raw) -> Endpoint:
            counting = "SELECT count(*) AS standing FROM endpoints WHERE job_id IS NULL AND removed_ms IS NULL"
            if raw.execute(counting).fetchone()["standing"] >= MAX_STANDING:
                allowed = (
                    f"there are {MAX_STANDING} endpoints, the most there may be: remove one, or use a job's notify"
                )
                raise EndpointConflict(allowed)
            return _read(raw, _insert(raw, endpoint, EndpointOrigin.API, now))

        return await self._database.write(work)

    async def get(self, endpoint_id: str) -> Endpoint:
        return await self._database.read(lambda raw: _read(raw, endpoint_id))

    async def list(
        self,
        *,
        user: str | None = None,
        job_id: str | None = None,
        origin: EndpointOrigin | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Endpoint]:
        where = ["removed_ms IS NULL", "job_id IS NULL" if job_id is None else "job_id = :job_id"]
        where += ['"user" = :user'] if user is not None else []
        where += ["origin = :origin"] if origin is not None else []
        where += ["id < :before"] if before is not None else []
        statement = f"SELECT * FROM endpoints WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"  # noqa: S608 - ours
        values = {"user": user, "job_id": job_id, "origin": origin, "before": before, "limit": limit}
        rows = await self._database.read(lambda raw: raw.execute(statement, values).fetchall())
        return [_endpoint_from(row) for row in rows]

    async def change(self, endpoint_id: str, change: EndpointChange) -> Endpoint:
        def work(raw: Raw) -> Endpoint:
            _read(raw, endpoint_id)
            columns: dict[str, Any] = {} if change.name is None else {"name": change.name}
            if change.types is not None:
                columns["types"] = to_json(list(change.types))
            if change.headers is not None:
                columns["headers"] = _json_headers(change.headers)
            _set(raw, endpoint_id, columns)
            return _read(raw, endpoint_id)

        return await self._database.write(work)

    async def disable(self, endpoint_id: str, why: str, *, now: datetime) -> Endpoint:
        def work(raw: Raw) -> Endpoint:
            if _read(raw, endpoint_id).disabled_at is None:
                _set(raw, endpoint_id, {"disabled_ms": to_ms(now), "disabled_why": why})
            return _read(raw, endpoint_id)

        return await self._database.write(work)

    async def enable(self, endpoint_id: str, *, now: datetime) -> Endpoint:
        def work(raw: Raw) -> Endpoint:
            _read(raw, endpoint_id)
            enable(raw, endpoint_id, now)
            return _read(raw, endpoint_id)

        return await self._database.write(work)

    async def rotate(self, endpoint_id: str, secret: str, *, overlap: timedelta, now: datetime) -> Endpoint:
        def work(raw: Raw) -> Endpoint:
            secrets = rotated(_read(raw, endpoint_id).secrets, secret, overlap=overlap, now=now)
            leave(raw, endpoint_id, now)
            _set(raw, endpoint_id, {"secrets": _json_secrets(secrets), "secret": None})
            return _read(raw, endpoint_id)

        return await self._database.write(work)

    async def remove(self, endpoint_id: str, *, now: datetime) -> None:
        def work(raw: Raw) -> None:
            endpoint = _read(raw, endpoint_id)
            leave(raw, endpoint_id, now)
            give_up_kept(raw, endpoint_id, before_ms=None, why="the endpoint was removed", now=now)
            nothing = {"removed_ms": to_ms(now), "headers": None, "secrets": None, "secret": None}
            disabled_at = endpoint.disabled_at or now
            _set(raw, endpoint_id, {**nothing, "disabled_ms": to_ms(disabled_at), "disabled_why": REMOVED})

        await self._database.write(work)

    async def synchronise(self, wanted: Sequence[NewEndpoint], *, now: datetime) -> None:
        await self._database.write(lambda raw: synchronise(raw, wanted, now))


def enable(raw: Raw, endpoint_id: str, now: datetime) -> None:
    """Let deliveries go out again, those that were kept within the last 7 days included."""
    oldest_ms = to_ms(now - PAUSED_FOR)
    _set(raw, endpoint_id, {"disabled_ms": None, "disabled_why": None, "failing_since_ms": None})
    give_up_kept(raw, endpoint_id, before_ms=oldest_ms, why=KEPT_TOO_LONG, now=now)
    kept = "SELECT id FROM deliveries WHERE endpoint_id = ? AND status = 'pending' ORDER BY notification"
    ids = [row["id"] for row in raw.execute(kept, (endpoint_id,)).fetchall()]
    add_tasks(raw, [NewTask(TaskKind.NOTIFY, delivery_id, now) for delivery_id in ids])
    # What was queued before it was disabled, and taken out of the queue for that.
    again = "UPDATE tasks SET state = 'ready', due_ms = ? WHERE kind = ? AND subject = ? AND state = 'held'"
    raw.executemany(again, [(to_ms(now), TaskKind.NOTIFY.value, delivery_id) for delivery_id in ids])


def synchronise(raw: Raw, wanted: Sequence[NewEndpoint], now: datetime) -> None:
    """Let the endpoints of the settings be ``wanted``.

    One that was disabled for another reason than its absence stays so, unless it leads elsewhere now.
    """
    rows = raw.execute("SELECT * FROM endpoints WHERE origin = ?", (EndpointOrigin.SETTINGS,)).fetchall()
    known = {row["name"]: row for row in rows}
    for endpoint in wanted:
        row = known.pop(endpoint.name, None)
        if row is None:
            _insert(raw, endpoint, EndpointOrigin.SETTINGS, now)
            continue
        leave(raw, row["id"], now)
        _set(raw, row["id"], _columns(endpoint))
        leads_elsewhere = (row["channel"], row["url"]) != (endpoint.channel, endpoint.url)
        is_back = row["disabled_why"] == NOT_IN_SETTINGS
        if row["disabled_ms"] is not None and (is_back or (leads_elsewhere and row["disabled_why"] != BY_HAND)):
            enable(raw, row["id"], now)
    for row in known.values():
        if row["disabled_ms"] is None:
            _set(raw, row["id"], {"disabled_ms": to_ms(now), "disabled_why": NOT_IN_SETTINGS})


def _insert(raw: Raw, endpoint: NewEndpoint, origin: EndpointOrigin, now: datetime) -> str:
    endpoint_id = new_id("ep", at=now.timestamp())
    columns = {"id": endpoint_id, **_columns(endpoint), "origin": origin, "created_ms": to_ms(now)}
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" for _ in columns)
    raw.execute(f"INSERT INTO endpoints ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608 - our own names
    return endpoint_id


def _columns(endpoint: NewEndpoint) -> dict[str, Any]:
    secrets = [SigningSecret(value=secret) for secret in endpoint.secrets]
    return {
        "channel": endpoint.channel,
        "url": endpoint.url,
        "name": endpoint.name,
        "user": endpoint.user,
        "types": to_json(list(endpoint.types)),
        "headers": _json_headers(endpoint.headers),
        "secrets": _json_secrets(secrets) if secrets else None,
    }


def _set(raw: Raw, endpoint_id: str, columns: Mapping[str, Any]) -> None:
    if columns:
        setting = ", ".join(f'"{name}" = ?' for name in columns)
        raw.execute(f"UPDATE endpoints SET {setting} WHERE id = ?", (*columns.values(), endpoint_id))  # noqa: S608 - our own names


def _read(raw: Raw, endpoint_id: str) -> Endpoint:
    row = raw.execute("SELECT * FROM endpoints WHERE id = ? AND removed_ms IS NULL", (endpoint_id,)).fetchone()
    if row is None:
        raise UnknownEndpoint(f"there is no endpoint {endpoint_id[:64]}")
    return _endpoint_from(row)


def _endpoint_from(row: Row) -> Endpoint:
    created_at = from_ms(row["created_ms"])
    if created_at is None:
        raise AssertionError("an endpoint without its time")
    return Endpoint(
        id=row["id"],
        origin=EndpointOrigin(row["origin"]),
        job_id=row["job_id"],
        channel=row["channel"],
        url=row["url"],
        name=row["name"],
        user=row["user"],
        types=types_from(row["types"]),
        headers=msgspec.json.decode(row["headers"]) if row["headers"] else {},
        secrets=secrets_from(row),
        created_at=created_at,
        disabled_at=from_ms(row["disabled_ms"]),
        disabled_why=row["disabled_why"],
        failing_since=from_ms(row["failing_since_ms"]),
    )


def _json_headers(headers: Mapping[str, str]) -> str | None:
    return to_json(dict(headers)) if headers else None


def _json_secrets(secrets: Sequence[SigningSecret]) -> str:
    return to_json(
        [
            {"value": secret.value, "expires_ms": None if secret.expires_at is None else to_ms(secret.expires_at)}
            for secret in secrets
        ]
    )
