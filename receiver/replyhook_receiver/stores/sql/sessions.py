"""Sessions of the dashboard in SQL: of their ids only hashes."""

import hashlib
from datetime import datetime

from replyhook_receiver.stores.sessions import IDLE_FOR, LONGEST_SESSION, SessionRecord
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import from_ms, to_ms

_PERSON = b"replyhook-sess"
_OVER = "DELETE FROM sessions WHERE expires_ms < ? OR last_seen_ms < ?"
_MOST_OF_A_KEY = 100
_TOO_MANY = """
    DELETE FROM sessions WHERE key_id = ? AND hash NOT IN (
        SELECT hash FROM sessions WHERE key_id = ? ORDER BY last_seen_ms DESC, created_ms DESC, hash LIMIT ?)
"""
_ADD = "INSERT INTO sessions (hash, key_id, created_ms, last_seen_ms, expires_ms) VALUES (?, ?, ?, ?, ?)"


class SQLSessions:
    """The ``Sessions`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, session_id: str, key_id: str, *, now: datetime) -> SessionRecord:
        expires_at = now + LONGEST_SESSION

        def work(raw: Raw) -> None:
            raw.execute(_OVER, (to_ms(now), to_ms(now - IDLE_FOR)))
            raw.execute(_TOO_MANY, (key_id, key_id, _MOST_OF_A_KEY - 1))
            raw.execute(_ADD, (_hash(session_id), key_id, to_ms(now), to_ms(now), to_ms(expires_at)))

        await self._database.write(work)
        return SessionRecord(key_id=key_id, created_at=now, last_seen_at=now, expires_at=expires_at)

    async def find(self, session_id: str) -> SessionRecord | None:
        statement, hashed = "SELECT * FROM sessions WHERE hash = ?", _hash(session_id)
        row = await self._database.read(lambda raw: raw.execute(statement, (hashed,)).fetchone())
        return None if row is None else _session_from(row)

    async def note_use(self, session_id: str, *, now: datetime) -> None:
        statement, values = "UPDATE sessions SET last_seen_ms = ? WHERE hash = ?", (to_ms(now), _hash(session_id))
        await self._database.write(lambda raw: raw.execute(statement, values))

    async def revoke(self, session_id: str, *, now: datetime) -> None:
        statement = "UPDATE sessions SET revoked_ms = ? WHERE hash = ? AND revoked_ms IS NULL"
        values = (to_ms(now), _hash(session_id))
        await self._database.write(lambda raw: raw.execute(statement, values))


def _hash(session_id: str) -> bytes:
    """One fast round is enough for what nobody can guess (``hash_key`` says why)."""
    return hashlib.blake2b(session_id.encode("utf-8", "surrogateescape"), digest_size=32, person=_PERSON).digest()


def _session_from(row: Row) -> SessionRecord:
    created_at, last_seen_at, expires_at = (from_ms(row[f"{name}_ms"]) for name in ("created", "last_seen", "expires"))
    if created_at is None or last_seen_at is None or expires_at is None:
        raise AssertionError("a session without its times")
    return SessionRecord(
        key_id=row["key_id"],
        created_at=created_at,
        last_seen_at=last_seen_at,
        expires_at=expires_at,
        revoked_at=from_ms(row["revoked_ms"]),
    )
