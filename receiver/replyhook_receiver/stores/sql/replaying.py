"""Replays in the database: the way of a report once more, with what the operator asked for, or all taken back."""

from datetime import datetime

from replyhook.ids import new_id
from replyhook.jobs import AssetStatus, JobEvent, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.errors import UnknownCallback
from replyhook_receiver.lifecycle import ANNOUNCES, TaskKind, fact_key
from replyhook_receiver.records import Accepted, JobRecord, Report, ReportSource
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.history import KeptCallback
from replyhook_receiver.stores.replaying import Replay, Replayed, Standing, Step
from replyhook_receiver.stores.sql.batch import AcceptAll
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database
from replyhook_receiver.stores.sql.facts import announce, expect_video
from replyhook_receiver.stores.sql.history import read_kept
from replyhook_receiver.stores.sql.rows import read_job, to_ms
from replyhook_receiver.stores.sql.tasks import add_task

REPLAY_OF = "replay-of"
"""The one header of a replay's own callback: which one it repeats. Its body stays there, and is kept once."""

_VIDEO_ANNOUNCES = {
    AssetStatus.STORED: NotificationType.VIDEO_STORED,
    AssetStatus.FAILED: NotificationType.VIDEO_FAILED,
}
_CHANGED_TASKS = "SELECT kind, state, attempts, due_ms FROM tasks WHERE subject = ? AND kind <> 'notify' ORDER BY kind"
_NEW_DELIVERIES = "SELECT id FROM deliveries WHERE notification > ?"


class _Foreseen(Exception):
    """Ends a dry run, and takes all of it back."""

    def __init__(self, replayed: Replayed) -> None:
        super().__init__("a dry run")
        self.replayed = replayed


class SQLReplays:
    """The Replays protocol. ``accept_all`` is the way that every report goes."""

    def __init__(self, database: Database, *, accept_all: AcceptAll, describe: Describe) -> None:
        self._database = database
        self._accept_all = accept_all
        self._describe = describe

    async def replay(self, replay: Replay, *, now: datetime) -> Replayed:
        def work(raw: Raw) -> Replayed:
            replayed = self._replay(raw, replay, now)
            if not replay.keeps:
                raise _Foreseen(replayed)
            return replayed

        try:
            return await self._database.write(work)
        except _Foreseen as end:
            return end.replayed

    def _replay(self, raw: Raw, replay: Replay, now: datetime) -> Replayed:
        kept = read_kept(raw, replay.callback_id)
        if kept is None:
            raise UnknownCallback(f"there is no callback {replay.callback_id[:64]}")
        job_id = kept.callback.job_id
        if job_id is None and replay.event is not None and replay.event.provider_job_id is not None:
            job_id = _job_called(raw, kept, replay.event.provider_job_id)
        before, tasks = _job(raw, job_id), _tasks(raw, job_id)
        last = raw.execute("SELECT coalesce(max(sequence), 0) AS last FROM notifications").fetchone()["last"]
        accepted = download = notify = None
        if (
            Step.STATE in replay.steps and replay.event is not None
        ):  # what says nothing changes nothing, and is kept once
            accepted = self._accept(raw, kept, replay.event, job_id, before, now)
        if Step.DOWNLOAD in replay.steps:
            download = self._revive_download(raw, kept, replay.event, _job(raw, job_id), now)
        if Step.NOTIFY in replay.steps:
            notify = self._announce_again(raw, _job(raw, job_id), last, now)
        withheld = 0 if Step.NOTIFY in replay.steps else _withhold(raw, last)
        after = _job(raw, job_id)
        return Replayed(
            callback_id=accepted.callback_id if accepted else None,
            job_id=job_id,
            verdict=accepted.verdict if accepted else None,
            before=_standing(before),
            after=_standing(after),
            tasks=[kind for kind, state in _tasks(raw, job_id).items() if tasks.get(kind) != state],
            announced=_announced_since(raw, last),
            deliveries=len(raw.execute(_NEW_DELIVERIES, (last,)).fetchall()),
            withheld=withheld,
            download=download,
            notify=notify,
        )

    def _accept(
        self,
        raw: Raw,
        kept: KeptCallback,
        event: JobEvent | None,
        job_id: str | None,
        before: JobRecord | None,
        now: datetime,
    ) -> Accepted:
        callback = kept.callback
        report = Report(
            callback_id=new_id("cb", at=now.timestamp()),
            provider=callback.provider,
            account=kept.account,
            job_id=job_id,
            received_at=now,
            headers=((REPLAY_OF, callback.id),),
            body=b"",
            trust=callback.trust,
            event=event,
            source=ReportSource.REPLAY,
        )
        (accepted,) = self._accept_all(raw, [report])
        after = _job(raw, job_id)
        if (
            after is not None
            and after.called_back_at is not None
            and (before is None or before.called_back_at != after.called_back_at)
        ):
            # The job was called back when the callback came, not now: what is learned of waits must not be wrong.
            statement = "UPDATE jobs SET called_back_ms = ? WHERE id = ?"
            raw.execute(statement, (to_ms(callback.received_at), after.id))
        return accepted

    def _revive_download(
        self, raw: Raw, kept: KeptCallback, event: JobEvent | None, job: JobRecord | None, now: datetime
    ) -> str:
        """Let the video be fetched by this callback's link; what became of that, in words."""
        if job is None:
            return "no: the callback belongs to no job yet"
        if job.asset.status is AssetStatus.STORED:
            return "not needed: the video is stored"
        if event is None or event.result is None:
            return "no: the callback names no video"
        if event.result.url.startswith(RELAYED):
            return "no: the video came in the answer itself, and there is no link to it"
        key = fact_key(provider=job.provider, account=kept.account, job_id=job.id, event=event)
        own = "UPDATE events SET link_dead = 0 WHERE key = ? AND job_id = ? AND status = ?"
        if raw.execute(own, (key, job.id, JobStatus.SUCCEEDED.value)).rowcount != 1:
            return "no: its link is not known to be this job's; replay its state first"
        expect_video(raw, job.id, event.result, self._describe)
        add_task(raw, TaskKind.DOWNLOAD, job.id, now=now, revive=True)
        return "yes: the download is due"

    def _announce_again(self, raw: Raw, job: JobRecord | None, last: int, now: datetime) -> str:
        """Announce how the job stands, each under a new id, but not what this replay has announced already."""
        if job is None:
            return "no: the callback belongs to no job yet"
        told = set(_announced_since(raw, last))
        kinds = [ANNOUNCES.get(job.status), _VIDEO_ANNOUNCES.get(job.asset.status)]
        to_tell = [kind for kind in kinds if kind is not None and kind not in told]
        for kind in to_tell:
            announce(raw, job.id, kind, now, self._describe)
        if to_tell:
            return f"yes: {', '.join(to_tell)} again, under a new id"
        return "yes: what is new" if told else f"no: nobody is told that a job is {job.status}"


def _job_called(raw: Raw, kept: KeptCallback, provider_job_id: str) -> str | None:
    statement = "SELECT id FROM jobs WHERE provider = ? AND account = ? AND provider_job_id = ?"
    row = raw.execute(statement, (kept.callback.provider, kept.account, provider_job_id)).fetchone()
    return row["id"] if row else None


def _job(raw: Raw, job_id: str | None) -> JobRecord | None:
    return None if job_id is None else read_job(raw, "j.id = ?", job_id)


def _standing(job: JobRecord | None) -> Standing | None:
    return None if job is None else Standing(status=job.status, progress=job.progress, video=job.asset.status)


def _tasks(raw: Raw, job_id: str | None) -> dict[str, tuple[object, ...]]:
    return {row["kind"]: tuple(row) for row in raw.execute(_CHANGED_TASKS, (job_id,))}


def _announced_since(raw: Raw, last: int) -> list[NotificationType]:
    rows = raw.execute("SELECT type FROM notifications WHERE sequence > ? ORDER BY sequence", (last,))
    return [NotificationType(row["type"]) for row in rows]


def _withhold(raw: Raw, last: int) -> int:
    """Let what was announced since reach the stream alone, and no endpoint."""
    raw.execute(f"DELETE FROM tasks WHERE kind = 'notify' AND subject IN ({_NEW_DELIVERIES})", (last,))  # noqa: S608
    return raw.execute("DELETE FROM deliveries WHERE notification > ?", (last,)).rowcount
