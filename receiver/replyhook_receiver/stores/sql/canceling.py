"""Ending a relayed job before it is submitted: in the same row that a submit's beginning is noted in."""

from datetime import datetime

from replyhook.jobs import JobStatus
from replyhook_receiver.lifecycle import ANNOUNCES, TaskKind
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.facts import announce
from replyhook_receiver.stores.sql.rows import to_ms

CANCELED = "canceled"
_WORDS = "canceled before it was submitted: nothing was started"
# What has begun is known by ``submitting_ms`` alone, and so is what was canceled by ``finished_ms``: of the two writes
# one comes first, and the other then finds no row.
_CANCEL = """
    UPDATE jobs SET status = ?, error_code = ?, error_message = ?, finished_ms = ?
    WHERE id = ? AND relay_video IS NOT NULL AND submitting_ms IS NULL AND submission IS NULL AND finished_ms IS NULL
"""


class SQLCanceling:
    """The Canceling protocol."""

    def __init__(self, database: Database, *, describe: Describe) -> None:
        self._database = database
        self._describe = describe

    async def cancel_unsent(self, job_id: str, *, now: datetime) -> bool:
        return await self._database.write(lambda raw: _cancel(raw, job_id, now, self._describe))


def _cancel(raw: Raw, job_id: str, now: datetime, describe: Describe) -> bool:
    values = (JobStatus.CANCELED.value, CANCELED, _WORDS, to_ms(now), job_id)
    if raw.execute(_CANCEL, values).rowcount != 1:
        return False
    raw.execute("DELETE FROM relay_queue WHERE job_id = ?", (job_id,))
    # One that is claimed just now is ended by whoever has it: it finds that no submit can be begun.
    done = "UPDATE tasks SET state = 'done', finished_ms = ? WHERE kind = ? AND subject = ? AND state <> 'leased'"
    raw.execute(done, (to_ms(now), TaskKind.RELAY.value, job_id))
    announce(raw, job_id, ANNOUNCES[JobStatus.CANCELED], now, describe)
    return True
