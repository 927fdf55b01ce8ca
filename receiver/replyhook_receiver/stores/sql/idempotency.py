"""Idempotency keys in the database: kept for a day, then removed a few at a time."""

from datetime import datetime, timedelta

from replyhook.ids import new_id
from replyhook_receiver.stores.idempotency import KeptAnswer, KeyedRequest
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.rows import to_ms

KEPT_FOR = timedelta(hours=24)
PRUNED_AT_A_TIME = 50
RUNS_FOR = timedelta(seconds=60)
"""Longer than any request takes: a receiver that has not answered by then has ended."""

_PRUNE = """
    DELETE FROM idempotency WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency WHERE created_ms <= ? ORDER BY created_ms LIMIT ?)
"""


class SQLIdempotency:
    """The IdempotencyStore protocol. ``runner`` names this process, where others have the database too."""

    def __init__(self, database: Database, *, runner: str | None = None) -> None:
        self._database = database
        self._runner = runner

    async def begin(self, caller: str, key: str, request: str, *, now: datetime) -> KeyedRequest:
        return await self._database.write(lambda raw: _begin(raw, caller, key, request, self._runner, now))

    async def let_go(self, caller: str, key: str) -> None:
        statement = "UPDATE idempotency SET runner = NULL WHERE caller = ? AND key = ? AND runner = ?"
        if self._runner is not None:
            await self._database.write(lambda raw: raw.execute(statement, (caller, key, self._runner)))

    async def keep_answer(self, caller: str, key: str, answer: KeptAnswer) -> None:
        statement = "UPDATE idempotency SET status = ?, content_type = ?, body = ? WHERE caller = ? AND key = ?"
        values = (answer.status, answer.content_type, answer.body, caller, key)
        await self._database.write(lambda raw: raw.execute(statement, values))


def _begin(raw: Raw, caller: str, key: str, request: str, runner: str | None, now: datetime) -> KeyedRequest:
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
    runs_elsewhere = answer is None and _runs_elsewhere(row, runner, now)
    if runner is not None and answer is None and row["request"] == request and not runs_elsewhere:
        begun = "UPDATE idempotency SET runner = ?, begun_ms = ? WHERE caller = ? AND key = ?"
        raw.execute(begun, (runner, to_ms(now), caller, key))
    return KeyedRequest(request=row["request"], made_id=row["made_id"], answer=answer, runs_elsewhere=runs_elsewhere)


def _runs_elsewhere(row: Row, runner: str | None, now: datetime) -> bool:
    if runner is None or row["runner"] in (None, runner):
        return False
    return bool(abs(to_ms(now) - row["begun_ms"]) < RUNS_FOR.total_seconds() * 1000)
