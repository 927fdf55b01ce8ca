"""What an operator has done about one job, in SQL: work that was given up put back, a question asked now."""

from datetime import datetime

from replyhook.jobs import Asset, AssetStatus, JobStatus
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.errors import NothingToDo, UnknownJob
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.facts import expect_video
from replyhook_receiver.stores.sql.rows import EVENTS_OF_JOB, read_job
from replyhook_receiver.stores.sql.tasks import add_task

_STATE = "SELECT state FROM tasks WHERE kind = ? AND subject = ?"
_LIVE_AGAIN = f"UPDATE events AS e SET link_dead = 0 WHERE {EVENTS_OF_JOB} AND e.result_url = ?2"  # noqa: S608 - ours
_LOST = (AssetStatus.FAILED, AssetStatus.EXPIRED)


class SQLSteering:
    """The ``Steering`` protocol over the store's database."""

    def __init__(self, database: Database, *, describe: Describe) -> None:
        self._database = database
        self._describe = describe

    async def retry(self, job_id: str, *, now: datetime) -> list[str]:
        return await self._database.write(lambda raw: _retry(raw, job_id, now, self._describe))

    async def ask_now(self, job_id: str, *, now: datetime) -> None:
        await self._database.write(lambda raw: _ask_now(raw, job_id, now))


def _retry(raw: Raw, job_id: str, now: datetime, describe: Describe) -> list[str]:
    job = _job(raw, job_id)
    put_back = []
    link = job.asset.url
    waits = _state(raw, TaskKind.DOWNLOAD, job_id) == "ready"
    if link is not None and not link.startswith(RELAYED) and (job.asset.status in _LOST or waits):
        raw.execute(_LIVE_AGAIN, (job_id, link))
        if job.asset.status in _LOST:
            expect_video(raw, job_id, Asset(url=link, expires_at=job.asset.expires_at), describe)
        add_task(raw, TaskKind.DOWNLOAD, job_id, now=now, revive=True)
        put_back.append(TaskKind.DOWNLOAD.value)
    if job.status is not JobStatus.SUCCEEDED and _state(raw, TaskKind.FETCH_RESULT, job_id) in ("dead", "ready"):
        add_task(raw, TaskKind.FETCH_RESULT, job_id, now=now, revive=True)
        put_back.append(TaskKind.FETCH_RESULT.value)
    if not put_back:
        raise NothingToDo(
            f"nothing of job {job.id} waits or was given up that could be tried again: it is {job.status}, "
            f"its video {job.asset.status}"
        )
    return put_back


def _ask_now(raw: Raw, job_id: str, now: datetime) -> None:
    job = _job(raw, job_id)
    if job.status.is_terminal:
        raise NothingToDo(f"job {job.id} has ended: it is {job.status}; nothing is left to ask about")
    if job.provider_job_id is None and job.submission is None:
        raise NothingToDo(f"job {job.id} was not submitted yet, as far as is known; nothing can be asked about it")
    add_task(raw, TaskKind.RECONCILE, job_id, now=now, revive=True)


def _job(raw: Raw, job_id: str) -> JobRecord:
    job = read_job(raw, "j.id = ?", job_id)
    if job is None:
        raise UnknownJob(f"there is no job {job_id[:64]}")
    return job


def _state(raw: Raw, kind: TaskKind, job_id: str) -> str | None:
    row = raw.execute(_STATE, (kind.value, job_id)).fetchone()
    return None if row is None else row["state"]
