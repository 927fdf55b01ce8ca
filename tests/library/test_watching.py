"""Waiting for a job over real HTTP: told by the push, on time, and holding nothing afterwards."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from replyhook import AsyncClient, InvalidRequest, JobFailed, JobOverdue, WaitTimeout
from replyhook.errors import JobNotFound, ReceiverError
from replyhook.watching import Watch
from tests.library.conftest import FAL, Driver
from tests.library.loopback import ACCEPTED_ID, PING, World, event, hangs_up, late, says, script

STORED = event(9, "video.stored", id="job")


def within(seconds: float, action: Callable[[], object]) -> None:
    """Run ``action`` and insist that it took no longer."""
    began = time.monotonic()
    action()
    assert time.monotonic() - began < seconds


def test_a_wait_ends_with_the_push_that_the_video_is_stored(drive: Driver, job: Any, world: World) -> None:
    world.streams(script(PING, event(1, "job.running", progress=40), event(2, "job.succeeded"), STORED, then="ping"))
    done = drive(job.wait(60))
    assert (done.type, done.data) == ("video.stored", {"id": "job"})
    (opened,) = world.to("GET /v1/stream")
    assert opened.query["job"] == job.id
    assert opened.headers["last-event-id"] == "0"
    assert opened.headers["authorization"] == "Bearer rk-geheim"
    assert float(opened.query["seconds"]) == pytest.approx(60, abs=5)


def test_a_wait_may_end_when_the_provider_is_done(drive: Driver, job: Any, world: World) -> None:
    world.streams(script(event(1, "job.running"), event(2, "job.succeeded"), then="ping"))
    assert drive(job.wait(5, until="succeeded")).type == "job.succeeded"


@pytest.mark.parametrize("then", ["end", "cut"])
def test_a_stream_that_breaks_is_opened_again_where_it_was_left(
    drive: Driver, job: Any, world: World, then: str
) -> None:
    world.streams(script(event(7, "job.running"), PING, then=then), script(PING, then=then), script(STORED))
    assert drive(job.wait(60)).type == "video.stored"
    assert [seen.headers["last-event-id"] for seen in world.to("GET /v1/stream")] == ["0", "7", "7"]


def test_a_receiver_that_restarts_is_waited_for(drive: Driver, job: Any, world: World) -> None:
    stored = world.answers["GET /v1/stream"][0]
    world.will_answer("GET /v1/stream", says(503), says(429), hangs_up(), stored)
    assert drive(job.wait(60)).type == "video.stored"


@pytest.mark.parametrize(("status", "error"), [(404, JobNotFound), (401, ReceiverError), (403, ReceiverError)])
def test_a_stream_refused_for_good_is_not_asked_for_again(
    drive: Driver, job: Any, world: World, status: int, error: type[Exception]
) -> None:
    world.will_answer("GET /v1/stream", says(status, {"title": "no"}))
    with pytest.raises(error, match="no"):
        drive(job.wait(60))
    assert len(world.to("GET /v1/stream")) == 1


def test_what_cannot_be_read_in_a_stream_is_passed_over(drive: Driver, job: Any, world: World) -> None:
    odd = 'id: 3\nevent: reset\ndata: {}\n\ndata: not json\n\ndata: []\n\nid\ndata: {"type":"job.slept"}\n\n'
    world.streams(script(odd, event(4, "job.dreaming"), STORED))
    assert drive(job.wait(60)).type == "video.stored"


@pytest.mark.parametrize("kind", ["job.failed", "job.canceled", "video.failed"])
def test_a_job_that_failed_is_raised_in_the_providers_words(drive: Driver, job: Any, world: World, kind: str) -> None:
    world.streams(script(event(1, kind, error={"code": "422", "message": "too rude"})))
    with pytest.raises(JobFailed, match="too rude") as caught:
        drive(job.wait(60))
    assert caught.value.job is job
    assert caught.value.code == "422"


@pytest.mark.parametrize("error", [None, "too rude", ["too rude"], 7, {}, {"message": None, "code": 7}], ids=repr)
def test_a_failure_is_a_failure_however_it_is_described(drive: Driver, job: Any, world: World, error: object) -> None:
    world.streams(script(event(1, "job.failed", error=error)))
    with pytest.raises(JobFailed):
        drive(job.wait(60))


@pytest.mark.parametrize("last", ["video.stored", "job.failed"])
def test_a_wait_that_ended_holds_no_connection(drive: Driver, job: Any, world: World, last: str) -> None:
    world.streams(script(event(1, last), then="ping"))
    kept: list[object] = []
    try:
        kept.append(drive(job.wait(60)))
    except JobFailed as error:
        kept.append(error)  # as a caller does that looks at it later
    for _ in range(20):
        if not world.open_streams:
            break
        drive.pause(0.05)
    assert world.open_streams == 0
    assert kept


@pytest.mark.parametrize("timeout", [7 * 24 * 3600, float("inf")])
def test_a_wait_longer_than_a_receiver_keeps_a_stream_asks_for_no_more_than_a_day(
    drive: Driver, job: Any, world: World, timeout: float
) -> None:
    """The receiver refuses to hold a stream longer than that; the client opens it again."""
    drive(job.wait(timeout))
    assert float(world.to("GET /v1/stream")[0].query.get("seconds", "0")) <= 24 * 3600


PAST = [event(1, "job.failed", error={"code": "422", "message": "too rude"}), event(2, "job.succeeded"), STORED]


def test_a_failure_that_a_later_success_overruled_ends_no_wait(drive: Driver, job: Any, world: World) -> None:
    world.streams(script(past=PAST, present={"id": "job", "status": "succeeded", "video": {"status": "stored"}}))
    assert drive(job.wait(60)).type == "video.stored"
    world.streams(script(STORED, past=PAST[:2], present={"status": "succeeded", "video": {"status": "pending"}}))
    assert drive(job.wait(60)).data == {"id": "job"}


def test_a_failure_that_was_overruled_while_the_stream_was_cut_ends_no_wait(
    drive: Driver, job: Any, world: World
) -> None:
    present = {"status": "succeeded", "video": {"status": "pending"}}
    world.streams(script(event(1, "job.running"), then="cut"), script(STORED, past=PAST[:2], present=present))
    assert drive(job.wait(60)).type == "video.stored"


@pytest.mark.parametrize(
    ("status", "video", "until", "end"),
    [
        ("succeeded", "stored", "stored", "video.stored"),
        ("succeeded", "stored", "succeeded", "job.succeeded"),
        ("succeeded", "pending", "succeeded", "job.succeeded"),
        ("succeeded", "failed", "succeeded", "job.succeeded"),
        ("succeeded", "failed", "stored", JobFailed),
        ("succeeded", "expired", "stored", JobFailed),
        ("failed", "none", "stored", JobFailed),
        ("canceled", "none", "succeeded", JobFailed),
    ],
)
def test_a_job_that_has_ended_is_not_waited_for(
    drive: Driver, job: Any, world: World, status: str, video: str, until: str, end: Any
) -> None:
    present = {"status": status, "video": {"status": video, "problem": "p"}, "overdue_at": "2026-11-21T12:00:00Z"}
    world.streams(script(present=present, then="ping"))

    def wait() -> None:
        if isinstance(end, str):
            assert drive(job.wait(60, until=until)).type == end
        else:
            with pytest.raises(end):
                drive(job.wait(60, until=until))

    within(30, wait)


@pytest.mark.parametrize("is_news", [True, False])
def test_an_overdue_job_ends_the_wait_unless_the_caller_goes_on(
    drive: Driver, job: Any, world: World, is_news: bool
) -> None:
    overdue = {"status": "submitted", "overdue_at": "2026-11-21T12:00:00Z", "overdue_reason": "no_provider_key"}
    news = event(3, "job.overdue", **overdue)
    told = script(news, then="ping") if is_news else script(past=[news], present=overdue, then="ping")
    world.streams(told)
    with pytest.raises(JobOverdue, match="no_provider_key") as caught:
        drive(job.wait(60))
    assert (caught.value.job, caught.value.reason) == (job, "no_provider_key")
    world.streams(told, script(STORED))
    with pytest.raises(WaitTimeout, match="overdue"):
        drive(job.wait(0.3, past_overdue=True))
    assert drive(job.wait(5, past_overdue=True)).type == "video.stored"


def test_events_are_all_that_was_announced_and_then_what_comes_until_the_end(
    drive: Driver, job: Any, world: World
) -> None:
    past = [event(1, "job.queued"), event(2, "job.failed")]
    world.streams(
        script(event(3, "job.running"), past=past, then="cut"),
        script(event(4, "job.succeeded"), event(9, "job.overdue")),
        script(PING, event(10, "video.stored"), event(11, "job.running"), then="ping"),
    )
    kinds = ["job.queued", "job.failed", "job.running", "job.succeeded", "job.overdue", "video.stored"]
    assert [told.type for told in drive.all(job.events(5))] == kinds
    assert [seen.headers["last-event-id"] for seen in world.to("GET /v1/stream")] == ["0", "3", "9"]


def test_events_of_a_job_that_has_ended_are_the_whole_story(drive: Driver, job: Any, world: World) -> None:
    world.streams(script(past=PAST, present={"status": "succeeded", "video": {"status": "stored"}}, then="ping"))
    told: list[Any] = []
    within(30, lambda: told.extend(drive.all(job.events())))
    assert [each.type for each in told] == ["job.failed", "job.succeeded", "video.stored"]


def test_events_end_on_time(drive: Driver, job: Any, world: World) -> None:
    world.streams(script(event(1, "job.running"), then="ping"))
    with pytest.raises(WaitTimeout):
        drive.all(job.events(0.3))


def test_a_subscriber_hears_of_every_step_and_gets_the_handle(drive: Driver, client: Any, world: World) -> None:
    world.streams(script(event(2, "job.running", progress=40), STORED, past=[event(1, "job.queued")], then="ping"))
    heard: list[str] = []
    job = drive(client.subscribe(**FAL, on_event=lambda told: heard.append(told.type), wait_timeout=60))
    assert heard == ["job.queued", "job.running", "video.stored"]
    assert job.provider_job_id == ACCEPTED_ID
    world.streams(script(event(1, "job.failed", error="too rude")))
    with pytest.raises(JobFailed, match="too rude") as caught:
        drive(client.subscribe(**FAL))
    assert caught.value.job.provider_job_id == ACCEPTED_ID


async def test_an_async_subscriber_may_await(world: World) -> None:
    world.streams(script(event(1, "job.running"), STORED))
    heard: list[str] = []

    async def hear(told: Any) -> None:
        await asyncio.sleep(0)
        heard.append(told.type)

    providers = {"fal": {"api_key": "k", "base_url": f"{world.url}/fal"}}
    async with AsyncClient(receiver_url=world.url, api_key="rk", providers=providers) as client:
        await client.subscribe(**FAL, on_event=hear)
    assert heard == ["job.running", "video.stored"]


def test_a_wait_that_cannot_be_meant_is_refused_before_the_submit(drive: Driver, client: Any, world: World) -> None:
    for wrong in ({"wait_timeout": -1}, {"until": "paid"}):
        with pytest.raises(InvalidRequest):
            drive(client.subscribe(**FAL, **wrong))
    assert not world.seen


def quiet(world: World, how: str) -> None:
    """Let the receiver have no news, each time in another way."""
    if how == "closed in time":
        world.streams(script(then="ping", seconds=0.4), script(then="ping", seconds=0.2))
    elif how == "pings for ever":
        world.streams(script(then="ping", seconds=2.5))
    elif how == "other jobs' news for ever":
        world.streams(script(*[event(n, "job.running") for n in range(50)], then="ping", seconds=2.5))
    elif how == "no answer":
        world.will_answer("GET /v1/stream", late(says(503), 2.5))
    else:
        world.will_answer("GET /v1/stream", says(503))


@pytest.mark.parametrize(
    "how", ["closed in time", "pings for ever", "other jobs' news for ever", "no answer", "always away"]
)
def test_a_wait_ends_on_time_whatever_the_receiver_does(drive: Driver, job: Any, world: World, how: str) -> None:
    quiet(world, how)

    def wait() -> None:
        with pytest.raises(WaitTimeout) as caught:
            drive(job.wait(0.85))
        assert caught.value.job is job
        assert isinstance(caught.value, TimeoutError)

    within(30, wait)
    world.streams(script(STORED))
    assert drive(job.wait(60)).type == "video.stored"  # the job goes on, and can be waited for again


def test_an_outage_is_told_of_once_until_the_receiver_is_heard_again(drive: Driver, job: Any, world: World) -> None:
    troubles: list[str] = []
    world.streams(script(event(1, "job.running"), then="cut"), script(STORED))
    drive(job.wait(5, on_trouble=troubles.append))
    assert len(troubles) == 1


def test_a_receiver_that_stays_away_is_told_of_once(job: Any) -> None:
    troubles: list[str] = []
    watch = Watch(job, on_trouble=troubles.append)
    watch.lose("refused")
    watch.lose("refused")
    assert troubles == ["refused"]
    watch.take("job.snapshot", "", '{"type": "job.snapshot", "timestamp": "2026-11-21T12:00:00Z", "data": {}}')
    watch.lose("refused again")
    assert troubles == ["refused", "refused again"]
