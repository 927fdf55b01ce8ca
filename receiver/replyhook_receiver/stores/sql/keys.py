"""API keys in the database; by functions of a plain connection, so that a key can be made beside a running receiver."""

from datetime import datetime

from replyhook.ids import new_id
from replyhook_receiver.errors import UnknownKey
from replyhook_receiver.keys import KeyRecord, NewKey, Scope, hash_key, make_key, shown_beginning
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms

_ADD = """
    INSERT INTO api_keys (id, hash, starts_with, name, scopes, "user", created_ms, expires_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


class SQLKeys:
    """The ``Keys`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, wanted: NewKey, *, now: datetime) -> tuple[KeyRecord, str]:
        return await self._database.write(lambda raw: create_key(raw, wanted, now))

    async def find(self, key: str) -> KeyRecord | None:
        return await self._database.read(lambda raw: _found(raw, "hash", hash_key(key, _secret(raw))))

    async def get(self, key_id: str) -> KeyRecord | None:
        return await self._database.read(lambda raw: _found(raw, "id", key_id))

    async def list(self, *, before: str | None = None, limit: int = 100) -> list[KeyRecord]:
        return await self._database.read(lambda raw: list_keys(raw, before=before, limit=limit))

    async def revoke(self, key_id: str, *, now: datetime) -> KeyRecord:
        return await self._database.write(lambda raw: revoke_key(raw, key_id, now))

    async def note_use(self, key_id: str, *, now: datetime) -> None:
        statement = "UPDATE api_keys SET last_used_ms = ? WHERE id = ?"
        await self._database.write(lambda raw: raw.execute(statement, (to_ms(now), key_id)))


def create_key(raw: Raw, wanted: NewKey, now: datetime) -> tuple[KeyRecord, str]:
    """Make a key; its row, and the key itself, which is kept nowhere."""
    key_id, key = new_id("key", at=now.timestamp()), make_key()
    hashed, beginning = hash_key(key, _secret(raw)), shown_beginning(key)
    expires_ms = None if wanted.expires_at is None else to_ms(wanted.expires_at)
    scopes = " ".join(sorted(wanted.scopes))
    raw.execute(_ADD, (key_id, hashed, beginning, wanted.name, scopes, wanted.user, to_ms(now), expires_ms))
    return _read(raw, key_id), key


def list_keys(raw: Raw, *, before: str | None = None, limit: int = 100) -> list[KeyRecord]:
    """Keys, newest first, those before the id ``before``."""
    where = "TRUE" if before is None else "id < :before"
    statement = f"SELECT * FROM api_keys WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608 - ours
    return [_key_from(row) for row in raw.execute(statement, {"before": before, "limit": limit})]


def revoke_key(raw: Raw, key_id: str, now: datetime) -> KeyRecord:
    """Let a key open nothing from now on. Raises ``UnknownKey``."""
    raw.execute("UPDATE api_keys SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL", (to_ms(now), key_id))
    return _read(raw, key_id)


def _secret(raw: Raw) -> bytes:
    secret: bytes = raw.execute("SELECT secret FROM key_hashing").fetchone()["secret"]
    return secret


def _read(raw: Raw, key_id: str) -> KeyRecord:
    found = _found(raw, "id", key_id)
    if found is None:
        raise UnknownKey(f"there is no key {key_id[:64]}")
    return found


def _found(raw: Raw, column: str, value: str | bytes) -> KeyRecord | None:
    row = raw.execute(f"SELECT * FROM api_keys WHERE {column} = ?", (value,)).fetchone()  # noqa: S608 - our own names
    return None if row is None else _key_from(row)


def _key_from(row: Row) -> KeyRecord:
    created_at = from_ms(row["created_ms"])
    if created_at is None:
        raise AssertionError("a key without its time")
    return KeyRecord(
        id=row["id"],
        starts_with=row["starts_with"],
        scopes=frozenset(Scope(word) for word in row["scopes"].split()),
        created_at=created_at,
        name=row["name"],
        user=row["user"],
        expires_at=from_ms(row["expires_ms"]),
        revoked_at=from_ms(row["revoked_ms"]),
        last_used_at=from_ms(row["last_used_ms"]),
    )
