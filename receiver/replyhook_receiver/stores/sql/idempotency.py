"""Idempotency keys in the database: kept for a day, then removed a few at a time."""

from datetime import datetime, timedelta

from replyhook.ids import new_id
from replyhook_receiver.stores.idempotency import KeptAnswer, KeyedRequest
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import to_ms

KEPT_FOR = timedelta(hours=24)
PRUNED_AT_A_TIME = 50

_PRUNE = """
    DELETE FROM idempotency WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency WHERE created_ms <= ? ORDER BY created_ms LIMIT ?)
"""


class SQLIdempotency:
    """The IdempotencyStore protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, caller: str, key: str, request: str, *, now: datetime) -> KeyedRequest:
        return await self._database.write(lambda raw: _begin(raw, caller, key, request, now))

    async def keep_answer(self, caller: str, key: str, answer: KeptAnswer) -> None:
        statement = "UPDATE idempotency SET status = ?, content_type = ?, body = ? WHERE caller = ? AND key = ?"
        values = (answer.status, answer.content_type, answer.body, caller, key)
        await self._database.write(lambda raw: raw.execute(statement, values))


def _begin(raw: Raw, caller: str, key: str, request: str, now: datetime) -> KeyedRequest:
    oldest = to_ms(now - KEPT_FOR)
    raw.execute("DELETE FROM idempotency WHERE caller = ? AND key = ? AND created_ms <= ?", (caller, key, oldest))
    raw.execute(_PRUNE, (oldest, PRUNED_AT_A_TIME))
    made_id = new_id("", at=now.timestamp()).removeprefix("_")
    raw.execute(
        """
        INSERT INTO idempotency (caller, key, request, made_id, created_ms) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING
        """,
        (caller, key, request, made_id, to_ms(now)),
    )
    row = raw.execute("SELECT * FROM idempotency WHERE caller = ? AND key = ?", (caller, key)).fetchone()
    answer = None
    if row["status"] is not None:
        answer = KeptAnswer(status=row["status"], content_type=row["content_type"], body=row["body"])
    return KeyedRequest(request=row["request"], made_id=row["made_id"], answer=answer)
