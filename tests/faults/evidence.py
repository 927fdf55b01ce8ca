"""What a receiver has really kept, read from its files once it is gone, and held against the providers' ledger."""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from replyhook_receiver.told import whole_body
from tests.faults.providers import HOOK, Ledger, Report
from tests.receiver.support import Host


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The database and the videos of a data folder."""

    events: Counter[tuple[str, str, int | None]]
    applied: Counter[tuple[str, str]]
    """Those that changed something, by job and what is announced of it."""
    callbacks: Counter[tuple[str, bytes]]
    jobs: dict[str, tuple[str, int | None]]
    announced: Counter[tuple[str, str]]
    tasks: dict[tuple[str, str], tuple[str, int]]
    notifications: dict[str, bytes]
    undelivered: int
    videos: dict[str, str | None]
    """By job: the SHA-256 of the file that is there for it."""

    @classmethod
    def read(cls, data_dir: Path) -> "Evidence":
        """Everything; the database must be whole."""
        with closing(sqlite3.connect(data_dir / "replyhook.db")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
            return cls._told(lambda statement: raw.execute(statement).fetchall(), data_dir)

    @classmethod
    def in_postgres(cls, url: str, data_dir: Path) -> "Evidence":
        """The same of PostgreSQL; the videos are in ``data_dir``."""
        with psycopg.connect(url) as raw:
            return cls._told(lambda statement: raw.execute(statement.encode()).fetchall(), data_dir)

    @classmethod
    def _told(cls, ask: Callable[[str], list[tuple[Any, ...]]], data_dir: Path) -> "Evidence":
        applied = "SELECT job_id, 'job.' || status FROM events WHERE verdict = 'applied'"
        videos = ask("SELECT job_id, name FROM assets WHERE status = 'stored'")
        return cls(
            events=Counter(ask("SELECT job_id, status, progress FROM events")),
            applied=Counter(ask(applied)),
            callbacks=Counter(ask("SELECT job_id, body FROM callbacks")),
            jobs={row[0]: row[1:] for row in ask("SELECT id, status, progress FROM jobs")},
            announced=Counter(ask("SELECT job_id, type FROM notifications")),
            tasks={row[:2]: row[2:] for row in ask("SELECT kind, subject, state, attempts FROM tasks")},
            notifications={row[0]: whole_body(row[1]) for row in ask("SELECT id, body FROM notifications")},
            undelivered=ask("SELECT count(*) FROM deliveries WHERE status <> 'delivered'")[0][0],
            videos={job: _sha256(data_dir / "videos" / name) for job, name in videos},
        )

    def assert_keeps(self, ledger: Ledger) -> None:
        """Every acknowledged callback with its event, its job change and its task; nothing applied twice."""
        without_event = {report.fact for report in ledger.acknowledged} - set(self.events)
        assert not without_event, "an answered callback has no event"
        assert set(self.events.values()) <= {1}, "a fact is kept twice"
        for report, times in ledger.acknowledged.items():
            least = 1 if report.provider == "fal" else times  # the same signature again is not kept again
            assert self.callbacks[report.job, report.body] >= least, "an answered callback is not kept"
            assert _has_come_to(self.jobs[report.job], report), "an answered callback changed no job"
            if report.link:
                assert ("download", report.job) in self.tasks, "an answered success has no task"
        told = Counter({entry: times for entry, times in self.announced.items() if entry[1].startswith("job.")})
        assert told == self.applied, "a fact was applied or announced not exactly once"
        assert ledger.registered <= set(self.jobs), "an answered registration is not kept"

    def assert_all_work_is_done(self, ledger: Ledger, host: Host, clip: bytes) -> None:
        """Every video is there, whole and announced once; every notification reached the endpoint under its own id."""
        succeeded = {report.job for report in ledger.acknowledged if report.link}
        assert {state for state, _ in self.tasks.values()} <= {"done"}
        assert succeeded <= set(self.videos)
        assert set(self.videos.values()) <= {hashlib.sha256(clip).hexdigest()}, "a video is missing or not whole"
        stored = Counter({job: times for (job, kind), times in self.announced.items() if kind == "video.stored"})
        assert stored == Counter(self.videos.keys()), "a stored video was announced not exactly once"
        heard = {(seen[2]["webhook-id"], seen[3]) for seen in host.seen if seen[1] == HOOK}
        assert heard <= set(self.notifications.items()), "something was told that is not on disk, or told otherwise"
        assert self.undelivered == 0
        due = {report.job for report in ledger.acknowledged if report.link} & ledger.registered
        deliveries = [task for task in self.tasks if task[0] == "notify"]
        assert len(heard) == len(deliveries) >= 2 * len(due)

    def begun_again(self, kind: str) -> int:
        """How many tasks of a kind were begun more than once: a kill came in between."""
        return sum(attempts > 1 for (task, _), (_, attempts) in self.tasks.items() if task == kind)


def _has_come_to(job: tuple[str, int | None], report: Report) -> bool:
    order = ["created", "submitted", "queued", "running", "failed", "succeeded"]
    status, progress = job
    return order.index(status) >= order.index(report.status) and (progress or 0) >= (report.progress or 0)


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
