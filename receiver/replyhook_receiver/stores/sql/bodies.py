"""Raw bodies of callbacks: compressed after a day, dropped later, put together again when they are read."""

import zlib
from dataclasses import dataclass

from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.unfinished import UNFINISHED

_BYTES_AT_A_TIME = 512 * 1024
_SMALLEST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A body that is shorter than it was."""

    callback_id: str
    body: bytes
    raw_bytes: int


def body_of(kept: bytes, raw_bytes: int | None) -> bytes | None:
    """A callback's body as it came; None where it was dropped. ``raw_bytes`` is the row's."""
    if raw_bytes is None:
        return kept
    return zlib.decompress(kept) if kept else None


def pack_next(raw: Raw, after: str, before: str, limit: int) -> tuple[list[Packed], str | None]:
    """The next bodies by their callbacks' ids, compressed; and the last id that was looked at, None at the end."""
    statement = "SELECT id, body, raw_bytes FROM callbacks WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
    packed, through, size = [], None, 0
    for row in raw.execute(statement, (after, before, limit)):
        body, through = row["body"], row["id"]
        size += len(body)
        if row["raw_bytes"] is None and len(body) >= _SMALLEST:
            smaller = zlib.compress(body, 6)
            if len(smaller) < len(body):
                packed.append(Packed(callback_id=through, body=smaller, raw_bytes=len(body)))
        if size > _BYTES_AT_A_TIME:
            break
    return packed, through


def keep_packed(raw: Raw, packed: list[Packed]) -> int:
    """Put compressed bodies in the place of those that came."""
    statement = "UPDATE callbacks SET body = ?, raw_bytes = ? WHERE id = ? AND raw_bytes IS NULL"
    return raw.executemany(statement, [(each.body, each.raw_bytes, each.callback_id) for each in packed]).rowcount


_DROP = """
    UPDATE callbacks SET raw_bytes = coalesce(raw_bytes, length(body)), body = ?1, headers = '[]'
    WHERE id = ?2 AND NOT (length(body) = 0 AND headers = '[]')
"""
_OF = f"""
    SELECT c.id, EXISTS (SELECT 1 FROM jobs j WHERE j.id = c.job_id AND {UNFINISHED}) AS is_needed
    FROM callbacks c WHERE c.id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - ours


def drop(raw: Raw, callback_ids: str) -> int:
    """Drop the bodies and headers of callbacks (their ids, as JSON), but those that work still pending may need."""
    dropped = 0
    for row in raw.execute(_OF, (callback_ids,)).fetchall():
        if row["is_needed"]:
            raw.execute("INSERT INTO kept_bodies (callback_id) VALUES (?) ON CONFLICT DO NOTHING", (row["id"],))
            continue
        dropped += raw.execute(_DROP, (b"", row["id"])).rowcount
        raw.execute("DELETE FROM kept_bodies WHERE callback_id = ?", (row["id"],))
    return dropped
