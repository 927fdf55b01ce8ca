"""Which trace a job belongs to, in SQL."""

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.traces import JobTrace
from replyhook_receiver.tasks import Task

_KEEP = "INSERT INTO traces (job_id, traceparent) SELECT id, ? FROM jobs WHERE id = ? ON CONFLICT DO NOTHING"
_OF_JOB = "SELECT j.id, j.provider, t.traceparent FROM jobs j LEFT JOIN traces t ON t.job_id = j.id WHERE j.id = ?"
_OF_DELIVERY = """
    SELECT j.id, j.provider, t.traceparent FROM deliveries d JOIN notifications n ON n.sequence = d.notification
    JOIN jobs j ON j.id = n.job_id LEFT JOIN traces t ON t.job_id = j.id WHERE d.id = ?
"""


class SQLTraces:
    """The Traces protocol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, job_id: str, traceparent: str) -> None:
        await self._database.write(lambda raw: raw.execute(_KEEP, (traceparent, job_id)))

    async def of_job(self, job_id: str) -> JobTrace | None:
        return await self._found(_OF_JOB, job_id)

    async def of_task(self, task: Task) -> JobTrace | None:
        return await self._found(_OF_DELIVERY if task.kind is TaskKind.NOTIFY else _OF_JOB, task.subject)

    async def _found(self, statement: str, subject: str) -> JobTrace | None:
        row = await self._database.read(lambda raw: raw.execute(statement, (subject,)).fetchone())
        if row is None:
            return None
        return JobTrace(job_id=row["id"], provider=row["provider"], traceparent=row["traceparent"])
