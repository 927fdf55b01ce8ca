"""A store with an outbox, whoever does something to it, and what has to hold after each thing that was done."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import (
    AbstractContextManager,
    suppress,
)
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from replyhook.notifications import NotificationType
from replyhook_receiver.answers import Answer
from replyhook_receiver.errors import DeliverySuperseded, EndpointConflict
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import NotifyTarget
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.places import PLACE, Limits, host_of
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.stores.sql.tasks import add_task
from replyhook_receiver.tasks import Dead, Done, Outcome, Retry, Task
from tests.contracts.store.material import (
    LEASE,
    NOW,
    VIDEO,
    a_job,
    failed,
    queued,
    report,
    running,
    submitted,
    succeeded,
)

ALL_TYPES = tuple(NotificationType)
PROGRESS = ("job.queued", "job.running")
PLACES = ("https://one.example/hook", "https://two.example/hook", "https://two.example/other")
STANDING = "https://two.example/standing"
SECRET = "whsec_" + "QUJD" * 12
LIMITS = Limits(place=2, host=3, all=4)
OK, REFUSED = Answer(status=200), Answer(status=500)


Beside = Callable[[], AbstractContextManager[Raw]]
"""Somebody else's connection, whose statements are committed one by one."""


@dataclass
class World:
    """A store, the tasks that somebody holds, and all that was sent."""

    store: SQLStore
    beside: Beside
    now: datetime = NOW
    jobs: list[str] = field(default_factory=list)
    held: list[Task] = field(default_factory=list)
    reports: Counter[str] = field(default_factory=Counter)

    def rows(self, statement: str, *values: Any) -> list[Row]:
        with self.beside() as raw:
            return raw.execute(statement, values).fetchall()

    def write(self, statement: str, *values: Any) -> None:
        with self.beside() as raw:
            raw.execute(statement, values)

    async def register(self) -> None:
        job = a_job(len(self.jobs))
        targets = tuple(NotifyTarget(url=url, types=ALL_TYPES, secret=SECRET) for url in PLACES)
        await submitted(self.store, job, provider_job_id=f"r-{len(self.jobs)}", notify=targets)
        self.jobs.append(job)

    async def tell(self, pick: int) -> None:
        """The next fact of some job: queued, running twice, its end."""
        job = self.jobs[pick % len(self.jobs)]
        name = f"r-{self.jobs.index(job)}"
        facts = [queued(name), running(10, name), running(60, name), succeeded(f"https://v3.fal.media/{name}", name)]
        if pick % 5 == 0:
            facts[-1] = failed(name)
        step = min(self.reports[job], len(facts) - 1)
        self.reports[job] += 1
        await self.store.accept(report(job, facts[step], received_at=self.now))

    async def claim(self) -> None:
        kind = [TaskKind.NOTIFY]
        for task in await self.store.claim(kind, limit=10, lease=LEASE, now=self.now):
            self.check_turn(task.subject)
            self.held.append(task)
        self.check_places()

    def check_turn(self, delivery_id: str) -> None:
        """Nothing earlier of the same job to the same endpoint is open, and nothing later makes it pointless."""
        (me,) = self.rows(SIBLINGS + " WHERE d.id = ?", delivery_id)
        others = self.rows(SIBLINGS + " WHERE n.job_id = ? AND d.endpoint_id = ?", me["job_id"], me["endpoint_id"])
        earlier = [row for row in others if row["notification"] < me["notification"]]
        assert "pending" not in {row["status"] for row in earlier}, "it overtook an earlier one"
        later = {row["type"] for row in others if row["notification"] > me["notification"]}
        assert me["type"] not in PROGRESS or not later & ENDS, "it went out though it is pointless"
        assert not me["is_disabled"], "it went to a disabled endpoint"

    def check_places(self) -> None:
        """No place has more than it may, and one that fails has one."""
        under_way = "t.state = 'leased' AND t.lease_until_ms > ?"
        now_ms = round(self.now.timestamp() * 1000)
        counting = f"SELECT e.url, {PLACE}, count(*) AS busy FROM {JOINED} WHERE {under_way} GROUP BY 1, 2"  # noqa: S608
        rows = self.rows(counting, now_ms)
        assert all(row["busy"] <= LIMITS.place for row in rows), "a place has more than it may"
        rows = [row for row in rows if row["url"] != STANDING]
        at_two = sum(row["busy"] for row in rows if row["url"].startswith("https://two.example/"))
        assert at_two <= LIMITS.host, "a host has more than it may"
        assert sum(row["busy"] for row in rows) <= LIMITS.all

    async def finish(self, how: str, pick: int) -> None:
        if not self.held:
            return
        task = self.held.pop(pick % len(self.held))
        await self.store.finish(task, self.outcome(task, how), now=self.now)

    async def finish_together(self, pick: int) -> None:
        """All that is held, in one go, each in its own way."""
        tasks, self.held = self.held, []
        ways = ("answered", "refused", "given-up", "gone", "stopped", "answered")
        outcomes = [self.outcome(task, ways[(pick + number) % 6]) for number, task in enumerate(tasks)]
        ends = zip(tasks, outcomes, strict=True)
        await asyncio.gather(*(self.store.finish(task, outcome, now=self.now) for task, outcome in ends))

    def outcome(self, task: Task, how: str) -> Outcome:
        refused = Retry(due_at=self.now + timedelta(seconds=5 * task.attempt), problem="500", answer=REFUSED)
        outcomes: dict[str, Outcome] = {
            "answered": Done(answer=OK),
            "refused": refused,
            "given-up": Dead(problem="500", answer=REFUSED),
            "gone": Dead(problem="410", answer=Answer(status=410, is_gone=True)),
            "stopped": Retry(due_at=self.now, problem="the worker was stopped"),
        }
        return outcomes[how]

    async def store_video(self) -> None:
        for task in await self.store.claim([TaskKind.DOWNLOAD], limit=1, lease=LEASE, now=self.now):
            await self.store.finish(task, Done(video=VIDEO), now=self.now)

    async def retry(self, pick: int) -> None:
        rows = self.rows("SELECT id FROM deliveries WHERE status <> 'superseded' ORDER BY id")
        if rows:
            with suppress(DeliverySuperseded, EndpointConflict):
                await self.store.deliveries.retry(rows[pick % len(rows)]["id"], now=self.now)

    def check_nothing_is_stranded(self) -> None:
        """Whatever is pending is due, under way, or waits for something that is; or its endpoint is disabled."""
        pending = self.rows(f"SELECT d.id, d.endpoint_id, n.job_id, d.notification, {OF_PENDING} FROM {JOINED} {HELD}")  # noqa: S608
        for row in pending:
            if row["is_disabled"] or row["state"] in ("ready", "leased"):
                continue
            assert row["state"] == "held", f"pending without a task: {row['state']}"
            if row["reason"] == "earlier_delivery":
                same = [each for each in pending if each["endpoint_id"] == row["endpoint_id"]]
                earlier = [each for each in same if each["notification"] < row["notification"]]
                assert row["job_id"] in {each["job_id"] for each in earlier}, "it waits for one that has ended"
                continue
            others = [each for each in pending if row["gate"] in (each["place"], host_of(each["place"]), "*")]
            moving = [each for each in others if each["state"] in ("ready", "leased")]
            elsewhere = [each for each in others if each["reason"] == "busy_endpoint" and each["gate"] != row["gate"]]
            assert moving or elsewhere, "it waits for room where nobody is"

    async def change_endpoint(self, what: str, pick: int) -> None:
        rows = self.rows("SELECT id FROM endpoints WHERE removed_ms IS NULL ORDER BY id")
        if not rows:
            return
        endpoint = rows[pick % len(rows)]["id"]
        if what == "removed":
            await self.store.endpoints.remove(endpoint, now=self.now)
        else:
            overlap = timedelta(hours=1)
            await self.store.endpoints.rotate(endpoint, f"{SECRET}{endpoint[-8:]}", overlap=overlap, now=self.now)

    async def enable(self, url: str) -> None:
        """As an operator does: the endpoints are on again, and what was kept for them has tasks that are due."""
        self.write(ENABLE, url)
        await self.store.database.write(lambda raw: tasks_again(raw, url, self.now))

    async def step(self, what: str, pick: int) -> None:
        match what:
            case "registered":
                await self.register()
            case "told":
                await self.tell(pick)
            case "stored":
                await self.store_video()
            case "claim":
                await self.claim()
            case "killed":
                self.held.clear()
            case "waited":
                self.now += timedelta(seconds=[1, 5, 40, 400][pick % 4])
                self.held.clear() if pick % 4 > 1 else None
            case "retried":
                await self.retry(pick)
            case "disabled":
                disable = "UPDATE endpoints SET disabled_ms = 1 WHERE url = ? AND disabled_ms IS NULL"
                self.write(disable, (*PLACES, STANDING)[pick % 4])
            case "enabled":
                await self.enable((*PLACES, STANDING)[pick % 4])
            case "together":
                await self.finish_together(pick)
            case "rotated" | "removed":
                await self.change_endpoint(what, pick)
            case _:
                await self.finish(what, pick)
        self.check_nothing_is_stranded()

    async def drain(self) -> None:
        """Everything is on, everybody answers: whatever waits has to go out within a few rounds."""
        for url in (*PLACES, STANDING):
            await self.enable(url)
        self.held.clear()
        for _ in range(400):
            due = await self.store.next_due(now=self.now, kinds=[TaskKind.NOTIFY])
            if due is None:
                return
            self.now = due
            await self.claim()
            while self.held:
                await self.finish("answered", 0)
        raise AssertionError("it goes on and on")

    def check_end(self) -> None:
        """Every delivery has come to an end, and only progress was left out, for an end that was to go to the same."""
        rows = self.rows(SIBLINGS)
        assert "pending" not in {row["status"] for row in rows}, "something waits for ever"
        by_id = {row["id"]: row for row in rows}
        for row in rows:
            if row["status"] == "superseded":
                by = by_id[row["superseded_by"]]
                assert (by["job_id"], by["endpoint_id"]) == (row["job_id"], row["endpoint_id"])
                assert row["type"] in PROGRESS
                assert by["type"] in ENDS
                assert by["notification"] > row["notification"]
        never_ended = self.rows("SELECT state FROM tasks WHERE kind = 'notify' AND state NOT IN ('done', 'dead')")
        assert never_ended == []


ENABLE = """
    UPDATE endpoints SET disabled_ms = NULL, disabled_why = NULL, failing_since_ms = NULL
    WHERE url = ? AND removed_ms IS NULL
"""
OF_PENDING = f"""
    e.disabled_ms IS NOT NULL AS is_disabled, t.state, h.reason, h.place AS gate, {PLACE} AS place
"""
HELD = "LEFT JOIN held h ON h.delivery_id = d.id AND t.state = 'held' WHERE d.status = 'pending'"
ENDS = {kind.value for kind in NotificationType if kind.is_end}
JOINED = """
    deliveries d JOIN notifications n ON n.sequence = d.notification JOIN endpoints e ON e.id = d.endpoint_id
    LEFT JOIN tasks t ON t.kind = 'notify' AND t.subject = d.id
"""
SIBLINGS = f"SELECT d.*, n.job_id, n.type, e.disabled_ms IS NOT NULL AS is_disabled, t.state FROM {JOINED}"  # noqa: S608


def tasks_again(raw: Raw, url: str, now: datetime) -> None:
    kept = """
        SELECT d.id FROM deliveries d JOIN endpoints e ON e.id = d.endpoint_id
        WHERE e.url = ? AND e.removed_ms IS NULL AND status = 'pending'
    """
    for row in raw.execute(kept, (url,)).fetchall():
        add_task(raw, TaskKind.NOTIFY, row["id"], now=now)
