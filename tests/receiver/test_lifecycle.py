"""Which status may follow which: for any reports, in any order."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
EVENTS = st.one_of(
    st.builds(says, st.sampled_from([S.QUEUED, S.RUNNING]), progress=PROGRESS),
    st.sampled_from([says(S.SUCCEEDED), says(S.SUCCEEDED, result=None), says(S.FAILED), says(S.CANCELED), says(None)]),
)


def after(job: JobState, event: JobEvent) -> JobState:
    """The job after a report, as a store keeps it."""
    decision = decide(job, event)
    progress = decision.progress if decision.progress is not None else job.progress
    asset = AssetStatus.PENDING if decision.result else job.asset_status
    return replace(
        job,
        status=decision.status,
        progress=progress,
        provider_job_id=job.provider_job_id or decision.provider_job_id,
        asset_status=asset,
    )


def after_all(events: list[JobEvent], job: JobState = JOB) -> JobState:
    for event in events:
        job = after(job, event)
    return job


@given(st.lists(EVENTS, max_size=8).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_any_order_of_the_same_reports_ends_in_the_same_status(orders: tuple[list[JobEvent], list[JobEvent]]) -> None:
    one, other = map(after_all, orders)
    assert (one.status, one.asset_status) == (other.status, other.asset_status)


@given(
    st.lists(EVENTS.filter(lambda event: event.status is not S.QUEUED), max_size=6).flatmap(
        lambda events: st.tuples(st.just(events), st.permutations(events))
    )
)
def test_any_order_of_the_same_reports_ends_with_the_same_progress(
    orders: tuple[list[JobEvent], list[JobEvent]],
) -> None:
    one, other = map(after_all, orders)
    assert one.progress == other.progress


@given(st.sampled_from(RANK), PROGRESS, st.lists(EVENTS, max_size=6))
def test_nothing_ever_moves_a_job_backwards(status: JobStatus, progress: int | None, events: list[JobEvent]) -> None:
    job = JobState(id="job_1", status=status, progress=progress)
    for event in events:
        moved = after(job, event)
        assert RANK.index(moved.status) >= RANK.index(job.status)
        assert (moved.progress or 0) >= (job.progress or 0)
        job = moved


@given(st.sampled_from(RANK), EVENTS)
def test_the_table_and_the_decision_agree(status: JobStatus, event: JobEvent) -> None:
    decision = decide(JobState(id="job_1", status=status), event)
    assert decision.status is status or decision.status in ALLOWED[status]
    complete = event.status is not None and not (event.status is S.SUCCEEDED and event.result is None)
    if complete and event.status in ALLOWED[status]:
        assert decision.status is event.status
        assert decision.verdict is (Verdict.CONFLICT if status.is_terminal else Verdict.APPLIED)


@given(st.sampled_from(RANK), EVENTS)
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
