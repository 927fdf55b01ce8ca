"""Which status may follow which: for any reports, in any order."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from replyhook.jobs import Asset, AssetStatus, JobError, JobEvent, JobStatus
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import ALLOWED, JobState, TaskKind, Verdict, decide, diagram, fact_key

S = JobStatus
RANK = [S.CREATED, S.UNKNOWN, S.SUBMITTED, S.QUEUED, S.RUNNING, S.CANCELED, S.FAILED, S.SUCCEEDED]
LINK = "https://v3.fal.media/one.mp4"
JOB = JobState(id="job_1", status=S.CREATED)


def says(status: JobStatus | None, **more: object) -> JobEvent:
    """What a provider says; a success comes with its result unless told otherwise."""
    if status is S.SUCCEEDED:
        more.setdefault("result", Asset(url=LINK))
    if status is S.FAILED:
        more.setdefault("error", JobError(code="422", message="it broke"))
    values: dict[str, object] = {"provider_job_id": "r-1", "word": status or "PAUSED", **more}
    return JobEvent(status=status, **values)  # type: ignore[arg-type] # hypothesis' values are of the right types


PROGRESS = st.none() | st.integers(0, 100)
LINKS = [None, LINK, f"{LINK}?signature=fresh", "https://v3.fal.media/two.mp4"]
ERRORS = [None, *(JobError(code=code, message=words) for code in (None, "", "422", "500") for words in ("a", "b"))]
ALSO_KNOWN_AS = [None, "r-1"]
EVENTS = st.one_of(
    st.builds(says, st.sampled_from([S.QUEUED, S.RUNNING]), progress=PROGRESS),
    st.sampled_from([says(S.SUCCEEDED), says(S.SUCCEEDED, result=None), says(S.FAILED), says(S.CANCELED), says(None)]),
)
ANYTHING = st.builds(
    JobEvent,
    provider_job_id=st.sampled_from(ALSO_KNOWN_AS),
    status=st.none() | st.sampled_from(RANK),
    progress=PROGRESS,
    result=st.sampled_from([Asset(url=link) if link else None for link in LINKS]),
    error=st.sampled_from(ERRORS),
    word=st.sampled_from([None, "PAUSED", "HALTED"]),
    job_id=st.sampled_from([None, "job_1"]),
)
"""Whatever a report can hold, also together: a failure with a link, a success with an error, a word nobody knows."""


def in_two_orders(events: st.SearchStrategy[JobEvent]) -> st.SearchStrategy[tuple[list[JobEvent], list[JobEvent]]]:
    """Reports, some of them twice, and the same ones in another order."""
    lists = st.lists(events, max_size=8).flatmap(
        lambda told: (
            st.lists(st.sampled_from(told), max_size=3).map(lambda again: told + again) if told else st.just([])
        )
    )
    return lists.flatmap(lambda told: st.tuples(st.just(told), st.permutations(told)))


def after(job: JobState, event: JobEvent) -> JobState:
    """The job after a report, as a store keeps it."""
    decision = decide(job, event)
    return replace(
        job,
        status=decision.status,
        progress=decision.progress,
        error=decision.error,
        provider_job_id=job.provider_job_id or decision.provider_job_id,
        asset_status=AssetStatus.PENDING if decision.result else job.asset_status,
    )


def after_all(events: list[JobEvent], job: JobState = JOB) -> JobState:
    for event in events:
        job = after(job, event)
    return job


@settings(max_examples=500)
@given(in_two_orders(EVENTS | ANYTHING))
def test_any_order_of_the_same_reports_ends_in_the_same_state(orders: tuple[list[JobEvent], list[JobEvent]]) -> None:
    one, other = map(after_all, orders)
    assert one == other


@given(st.lists(EVENTS | ANYTHING, max_size=8))
def test_a_state_is_the_highest_of_all_that_was_told(events: list[JobEvent]) -> None:
    job = after_all(events)
    incomplete = [event for event in events if event.status is S.SUCCEEDED and event.result is None]
    told = [event.status for event in events if event.status and event not in incomplete]
    assert job.status is max([S.CREATED, *told, *(S.RUNNING for _ in incomplete)], key=RANK.index)
    progress = max((event.progress for event in events if event.progress is not None), default=None)
    assert job.progress == (100 if job.status is S.SUCCEEDED else progress)
    assert job.provider_job_id == next((event.provider_job_id for event in events if event.provider_job_id), None)


@given(st.lists(ANYTHING, max_size=8))
def test_an_error_is_known_only_of_a_job_that_failed_or_was_canceled(events: list[JobEvent]) -> None:
    job = after_all(events)
    told = [event.error for event in events if event.status is job.status]
    ended_badly = job.status in (S.FAILED, S.CANCELED)
    assert job.error in (told if ended_badly else [None])
    assert (job.error is not None) == (ended_badly and any(told))


def test_of_two_failures_the_one_with_a_code_is_kept_whichever_came_first() -> None:
    bare, coded, later = (
        JobError(code=code, message=words) for code, words in [(None, "a"), ("422", "z"), ("500", "a")]
    )
    for order in itertools.permutations([bare, coded, later]):
        assert after_all([says(S.FAILED, error=error) for error in order]).error == coded


@given(st.lists(EVENTS | ANYTHING, max_size=12))
def test_no_end_is_announced_twice(events: list[JobEvent]) -> None:
    job, announced = JOB, []
    for event in events:
        kind = decide(job, event).announce
        announced += [kind] if kind and not kind.is_progress else []
        job = after(job, event)
    assert len(announced) == len(set(announced))


@given(st.lists(ANYTHING, max_size=8))
def test_a_job_succeeds_by_a_link_and_by_nothing_else(events: list[JobEvent]) -> None:
    job = after_all(events)
    linked = any(event.status is S.SUCCEEDED and event.result is not None for event in events)
    assert (job.status is S.SUCCEEDED) == (job.asset_status is AssetStatus.PENDING) == linked


@given(st.sampled_from(RANK), PROGRESS, st.lists(EVENTS | ANYTHING, max_size=6))
def test_nothing_ever_moves_a_job_backwards(status: JobStatus, progress: int | None, events: list[JobEvent]) -> None:
    job = JobState(id="job_1", status=status, progress=progress)
    for event in events:
        moved = after(job, event)
        assert RANK.index(moved.status) >= RANK.index(job.status)
        assert (moved.progress or 0) >= (job.progress or 0)
        job = moved


@given(st.sampled_from(RANK), EVENTS | ANYTHING)
def test_the_table_and_the_decision_agree(status: JobStatus, event: JobEvent) -> None:
    decision = decide(JobState(id="job_1", status=status), event)
    assert decision.status is status or decision.status in ALLOWED[status]
    complete = event.status is not None and not (event.status is S.SUCCEEDED and event.result is None)
    if complete and event.status in ALLOWED[status]:
        assert decision.status is event.status
        assert decision.verdict is (Verdict.CONFLICT if status.is_terminal else Verdict.APPLIED)


@given(st.sampled_from(RANK), EVENTS | ANYTHING)
def test_the_same_report_twice_moves_nothing_the_second_time(status: JobStatus, event: JobEvent) -> None:
    once = after(JobState(id="job_1", status=status), event)
    assert after(once, event) == once
    assert decide(once, event).announce is None


def test_the_table_has_no_way_back() -> None:
    assert set(ALLOWED) == set(JobStatus)
    for status, following in ALLOWED.items():
        assert all(RANK.index(later) > RANK.index(status) for later in following)


def test_the_diagram_shows_the_whole_table() -> None:
    drawn = diagram().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    arrows = {tuple(line.strip().split(" --> ")) for line in drawn[2:]}
    assert arrows == {(status.value, later.value) for status, following in ALLOWED.items() for later in following}


@pytest.mark.parametrize("status", [S.CREATED, S.UNKNOWN, S.SUBMITTED, S.QUEUED, S.RUNNING])
def test_a_success_without_its_result_is_not_yet_one_and_is_asked_for(status: JobStatus) -> None:
    decision = decide(JobState(id="job_1", status=status), says(S.SUCCEEDED, result=None))
    assert (decision.status, decision.task, decision.result) == (S.RUNNING, TaskKind.FETCH_RESULT, None)
    expected = None if status is S.RUNNING else NotificationType.JOB_RUNNING
    assert decision.announce is expected


def test_a_success_without_its_result_after_one_with_it_is_late() -> None:
    decision = decide(JobState(id="job_1", status=S.SUCCEEDED), says(S.SUCCEEDED, result=None))
    assert (decision.verdict, decision.task) == (Verdict.AFTER_TERMINAL, None)


@pytest.mark.parametrize("status", [S.FAILED, S.CANCELED])
def test_a_success_after_another_end_is_a_conflict_that_keeps_the_video(status: JobStatus) -> None:
    decision = decide(JobState(id="job_1", status=status), says(S.SUCCEEDED))
    assert (decision.verdict, decision.status, decision.task) == (Verdict.CONFLICT, S.SUCCEEDED, TaskKind.DOWNLOAD)
    assert decision.announce is NotificationType.JOB_SUCCEEDED


def test_a_second_link_is_taken_while_the_video_is_not_stored() -> None:
    for asset, task in [(AssetStatus.FAILED, TaskKind.DOWNLOAD), (AssetStatus.STORED, None)]:
        job = JobState(id="job_1", status=S.SUCCEEDED, asset_status=asset)
        decision = decide(job, says(S.SUCCEEDED, result=Asset(url="https://v3.fal.media/two.mp4")))
        assert (decision.verdict, decision.task, decision.announce) == (Verdict.AFTER_TERMINAL, task, None)


@pytest.mark.parametrize(
    "event",
    [says(S.SUCCEEDED, provider_job_id="r-2"), says(S.SUCCEEDED, job_id="job_2"), says(None, provider_job_id="r-2")],
    ids=["another provider job", "another job echoed", "another provider job, unknown word"],
)
def test_a_report_about_another_job_is_a_conflict(event: JobEvent) -> None:
    decision = decide(JobState(id="job_1", status=S.RUNNING, provider_job_id="r-1", progress=40), event)
    assert (decision.verdict, decision.status, decision.progress) == (Verdict.CONFLICT, S.RUNNING, 40)
    assert (decision.task, decision.announce, decision.result) == (None, None, None)


@pytest.mark.parametrize(
    "event", [says(S.QUEUED, provider_job_id="gateway", aliases=("r-1",)), says(S.QUEUED, job_id="job_1")]
)
def test_a_report_may_name_the_job_by_an_alias_or_echo_ours(event: JobEvent) -> None:
    assert decide(JobState(id="job_1", status=S.SUBMITTED, provider_job_id="r-1"), event).verdict is Verdict.APPLIED


def key(event: JobEvent, *, provider: str = "fal", account: str = "default", job_id: str | None = "job_1") -> str:
    return fact_key(provider=provider, account=account, job_id=job_id, event=event)


@given(st.text(max_size=40), st.text(max_size=20))
def test_a_fresh_signature_on_the_same_link_is_the_same_fact(query: str, fragment: str) -> None:
    cleaned = query.replace("#", "")
    assert key(says(S.SUCCEEDED, result=Asset(url=f"{LINK}?{cleaned}#{fragment}"))) == key(says(S.SUCCEEDED))


def test_different_facts_have_different_keys() -> None:
    facts = [
        key(says(S.SUCCEEDED)),
        key(says(S.SUCCEEDED, result=None)),
        key(says(S.SUCCEEDED, result=Asset(url="https://v3.fal.media/two.mp4"))),
        key(says(S.SUCCEEDED), job_id=None),
        key(says(S.SUCCEEDED, provider_job_id="r-2"), job_id=None),
        key(says(S.SUCCEEDED), provider="useapi"),
        key(says(S.SUCCEEDED), account="other"),
        key(says(S.FAILED)),
        key(says(S.FAILED, error=JobError(code="500", message="it broke"))),
        key(says(S.RUNNING)),
        key(says(S.RUNNING, progress=0)),
        key(says(S.RUNNING, progress=1)),
        key(says(None)),
        key(says(None, word="HALTED")),
        key(says(None, word="running")),
        key(says(S.RUNNING), job_id="job_2"),
        key(says(S.SUCCEEDED, provider_job_id="job_2"), job_id=None),
        key(says(S.SUCCEEDED), job_id="r-1"),
    ]
    assert len(set(facts)) == len(facts)


@given(st.text())
def test_any_link_a_provider_sends_has_a_key(url: str) -> None:
    assert key(says(S.SUCCEEDED, result=Asset(url=url)))


@pytest.mark.parametrize("url", ["https://[", "https://[::1", "http://exa\u2100mple.com/", "//[x]/"])
def test_a_link_that_is_no_url_has_a_key_too(url: str) -> None:
    assert key(says(S.SUCCEEDED, result=Asset(url=url)))
