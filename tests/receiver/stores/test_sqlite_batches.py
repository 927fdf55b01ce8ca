"""Reports that are written together end as if each had been written by itself; one that fails takes none with it."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replyhook.errors import VerificationError
from replyhook.notifications import NotificationType
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.endpoints import NewEndpoint
from replyhook_receiver.errors import DetachedLimit
from replyhook_receiver.records import DetachedJob, Report
from replyhook_receiver.stores.sql import facts, registering
from replyhook_receiver.stores.sql.endpoints import synchronise
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stores.sqlite.connection import migrate
from tests.contracts.store.material import (
    NOW,
    a_job,
    accepted_as,
    canceled,
    describe,
    failed,
    queued,
    registration,
    report,
    running,
    strange,
    succeeded,
    the_job,
)
from tests.receiver.sqlite_file import lay

JOBS = [a_job(number) for number in range(4)]
TABLES = (
    *("jobs", "assets", "events", "callbacks", "notifications", "deliveries", "tasks", "deadlines"),
    *("senders", "nonces"),
)
DEADLINES = Deadlines(())
STANDING = [
    NewEndpoint(name="all", url="https://all.example"),
    NewEndpoint(name="theirs", url="https://theirs.example", user="u_7", types=(NotificationType.JOB_RUNNING,)),
    NewEndpoint(name="another's", url="https://other.example", user="u_8"),
    NewEndpoint(name="paused", url="https://paused.example"),
]
SAID = st.one_of(
    st.sampled_from([queued, canceled, strange]).map(lambda make: make()),
    st.integers(0, 100).map(running),
    st.sampled_from(["r-1", "r-2", None]).map(lambda name: running(50, name)),
    st.sampled_from(["422", "500"]).map(lambda code: failed(code=code)),
    st.sampled_from(["one", "two", "one?fresh"]).map(lambda name: succeeded(f"https://v3.fal.media/{name}.mp4")),
    st.just(succeeded(None)),
    st.none(),
)
REPORTS = st.lists(
    st.one_of(
        st.builds(report, st.sampled_from(JOBS), SAID, sender=st.sampled_from([None, "user-1"])),
        st.builds(lambda said: report(None, said, provider="pixverse"), SAID),
        st.builds(
            lambda said, nonce: report(None, said, provider="pixverse", nonce=nonce), SAID, st.sampled_from("ab")
        ),
    ),
    min_size=2,
    max_size=12,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(lay(tmp_path / "replyhook.db"), describe=describe)
    await opened.open()
    yield opened
    await opened.close()


@cache
def an_empty_one() -> sqlite3.Connection:
    """A database with the schema alone."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    migrate(raw)
    return raw


def ending(batches: Sequence[Sequence[Report]]) -> dict[str, list[tuple[object, ...]]]:
    """Every table after these batches; two jobs were registered before, one of them submitted."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:  # nothing here is about the disk
        an_empty_one().backup(raw)
        raw.row_factory = sqlite3.Row
        synchronise(raw, STANDING, NOW)
        raw.execute("UPDATE endpoints SET disabled_ms = ? WHERE name = 'paused'", (to_ms(NOW),))
        for job_id in JOBS[:2]:
            registering.register(raw, registration(job_id), now=NOW, describe=describe)
        registering.record_submission(raw, JOBS[0], accepted_as("r-1"), now=NOW, describe=describe, deadlines=DEADLINES)
        for batch in batches:
            facts.accept_all(raw, batch, describe, DEADLINES)
        return {table: [masked(row) for row in raw.execute(f"SELECT * FROM {table}")] for table in TABLES}  # noqa: S608


def masked(row: sqlite3.Row) -> tuple[object, ...]:
    """A row without what is random in it."""
    made_here = re.compile(r"\b(ntf|dlv|evt|ep)_[0-9a-z]{26}\b")
    return tuple(made_here.sub(r"\1_…", value) if isinstance(value, str) else value for value in row)


@settings(max_examples=60)
@given(REPORTS)
@example([report(JOBS[2], running(50, "r-2")), report(JOBS[3], running(50, "r-2"))])
@example(
    [report(JOBS[2], queued()), report(JOBS[2], queued()), report(JOBS[2], failed()), report(JOBS[2], succeeded())]
)
def test_together_or_one_by_one_it_is_the_same(reports: list[Report]) -> None:
    together, one_by_one = ending([reports]), ending([[each] for each in reports])
    for table in TABLES:
        assert sorted(map(repr, together[table])) == sorted(map(repr, one_by_one[table])), table


@pytest.mark.parametrize("in_between", ["token", "nonce"])
def test_detached_jobs_are_counted_within_a_batch_each_once(in_between: str) -> None:
    """A nonce is written at once, and with it all that was gathered before."""

    def of(user: str, job_id: str) -> Report:
        return report(job_id, running(5, job_id), detached=DetachedJob(user=user, reference=None, max_per_day=2))

    nonce = "n-1" if in_between == "nonce" else None
    between = report(None, running(5, "r-9"), provider="pixverse", nonce=nonce)
    first, second, third = (a_job() for _ in range(3))
    full = [of("u_7", first), of("u_8", a_job()), between, of("u_7", first), of("u_7", second), of("u_8", a_job())]
    assert len(ending([full])["jobs"]) == 2 + 4
    with pytest.raises(DetachedLimit):
        ending([[*full, of("u_7", third)]])
    with pytest.raises(DetachedLimit):
        ending([full, [of("u_7", third)]])


async def test_a_report_that_fails_takes_none_of_its_batch_with_it(store: SQLiteStore) -> None:
    await store.register(registration(JOBS[0], provider="useapi"), now=NOW)
    before = await store.counts()
    jobs = [a_job() for _ in range(20)]
    good = [report(job_id, running(number, f"r-{number}")) for number, job_id in enumerate(jobs)]
    misplaced = report(JOBS[0], running(1))  # fal's word about a job of useapi's
    answers = await asyncio.gather(*map(store.accept, [*good[:10], misplaced, *good[10:]]), return_exceptions=True)
    assert [type(answer) for answer in answers if isinstance(answer, BaseException)] == [VerificationError]
    after = await store.counts()
    assert after.stored == len(good)
    assert after.commits - before.commits <= 3, "they were not written together"
    assert [(await the_job(store, job_id)).progress for job_id in jobs] == list(range(20))
