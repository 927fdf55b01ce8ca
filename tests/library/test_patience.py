"""Too many at a time: waited out as the provider asks, no longer than the caller allows, and never after a maybe."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replyhook.errors import RateLimited, SubmitOutcomeUnknown
from replyhook.flows import submit
from replyhook.jobs import SourceKind, VideoSource
from replyhook.messages import HTTPResponse
from replyhook.patience import SHORTEST_PAUSE_SECONDS, Patience
from replyhook.providers import Provider
from replyhook.providers.aihubmax import AIHubMax
from replyhook.providers.fal import Fal
from replyhook.providers.pixverse import PixVerse
from replyhook.providers.useapi import UseAPI
from replyhook.steps import Pause, Purpose, Send
from tests.library.test_submit_flow import (
    ACCEPTED,
    BYTES,
    GRANTED,
    NOTED,
    RECEIVER,
    REGISTERED,
    Outcome,
    Run,
    answer,
    lost,
    play,
    submission,
)

EARLIER = VideoSource.provider_job("343252978602904")
BUSY = answer(429, {"error": "Reached the limit for concurrent generations.", "detail": "Too many requests"})
PIXVERSE_BUSY = answer(200, {"ErrCode": 500044, "ErrMsg": "Reached the limit for concurrent generations."})
PIXVERSE_TAKEN = answer(200, {"ErrCode": 0, "Resp": {"video_id": 343252978602905}})


def busy(**headers: str) -> HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPResponse(status=429, headers=named, body=BUSY.body)


class Clock:
    """Time passes when the flow pauses, and with each submit."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(
    *accepts: Outcome, provider: Provider | None = None, patience: float = 60.0, jitter: float = 0.5,
    source: VideoSource = EARLIER, uploads: tuple[Outcome, ...] = (), seconds_each: float = 0.0,
) -> Run:  # fmt: skip
    """Play a submit to a provider that answers so, one after the other; the last answer stays."""
    answers = {Purpose.SUBMIT: list(accepts), Purpose.UPLOAD: [*uploads, GRANTED]}
    clock = Clock()

    def outcome_of(step: Send) -> Outcome:
        if step.purpose is Purpose.RECEIVER:
            return REGISTERED if step.request.method == "PUT" else NOTED
        clock.now += seconds_each
        waiting = answers[step.purpose]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    waits = Patience(patience, clock=clock, jitter=lambda: jitter)
    return play(submission(provider or UseAPI(api_key="k"), source), outcome_of, waits, on_pause=clock_of(clock))


def clock_of(clock: Clock) -> Callable[[float], None]:
    def pass_by(seconds: float) -> None:
        clock.now += seconds

    return pass_by


@pytest.mark.parametrize(("jitter", "pauses"), [(0.0, [10, 10]), (0.5, [20, 20]), (1.0, [30, 30])])
def test_useapi_is_left_alone_for_10_to_30_seconds_each_time(jitter: float, pauses: list[float]) -> None:
    done = run(BUSY, BUSY, ACCEPTED, jitter=jitter)
    assert done.pauses == pauses
    assert done.result is not None
    assert len(done.to(Purpose.SUBMIT)) == 3
    assert [report["outcome"] for report in done.reports] == ["accepted"]
    assert len(done.to(Purpose.RECEIVER)) == 2  # one job throughout, registered once


def test_pixverses_limit_on_http_200_is_waited_out_too() -> None:
    provider = PixVerse(api_key="k", webhook_id="1234")
    done = run(PIXVERSE_BUSY, PIXVERSE_TAKEN, provider=provider)
    assert (done.pauses, done.result is not None) == ([20], True)


def test_aihubmax_asks_not_to_be_asked_again_unless_it_says_when() -> None:
    source = VideoSource(kind=SourceKind.URL, text="https://a.example/in.mp4")
    taken = answer(200, {"id": "task-1"})
    refused = run(BUSY, taken, provider=AIHubMax(api_key="k"), source=source)
    assert (refused.pauses, type(refused.error)) == ([], RateLimited)
    invited = run(busy(retry_after="7"), taken, provider=AIHubMax(api_key="k"), source=source)
    assert (invited.pauses, invited.error) == ([7], None)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry_after": "17"}, 17),
        ({"retry_after": "Sat, 21 Nov 2026 12:00:45 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 45),
        ({"retry_after": "Saturday, 21-Nov-26 12:00:45 GMT", "date": "Sat Nov 21 12:00:00 2026"}, 45),
        ({"retry_after": "0"}, SHORTEST_PAUSE_SECONDS),
        ({"retry_after": "Sat, 21 Nov 2026 11:00:00 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"},
         SHORTEST_PAUSE_SECONDS),
        ({"retry_after": "soon"}, 20),
        ({"retry_after": "-3"}, 20),
        ({"retry_after": "Sat, 21 Nov 2026 12:00:45 GMT"}, 20),  # by whose clock? the clients add theirs
        ({"retry_after": "Sat, 99 Nov 2026 12:00:45 GMT", "date": "x"}, 20),
    ],
    ids=str,
)  # fmt: skip
def test_retry_after_is_obeyed_in_each_of_its_forms(headers: dict[str, str], pause: float) -> None:
    assert run(busy(**headers), ACCEPTED).pauses == [pause]


def test_a_refusal_that_lasts_ends_in_the_refusal_with_what_was_waited() -> None:
    done = run(BUSY, patience=60, jitter=0.25)
    assert done.pauses == [15, 15, 15, 15]
    assert isinstance(done.error, RateLimited)
    assert done.error.waited_seconds == 60
    assert str(done.error) == (
        "useapi refused the job: Reached the limit for concurrent generations. (waited 60 s for it)"
    )
    assert [report["outcome"] for report in done.reports] == ["refused"]


def test_a_pause_is_cut_to_what_is_left_but_never_below_what_is_asked_for() -> None:
    assert run(BUSY, patience=35, jitter=0.5).pauses == [20, 15]
    assert run(BUSY, patience=29, jitter=0.5).pauses == [20]
    assert run(busy(retry_after="20"), patience=39).pauses == [20]


def test_slow_answers_use_up_patience_as_well() -> None:
    assert run(BUSY, patience=60, jitter=0.5).pauses == [20, 20, 20]
    assert run(BUSY, patience=60, jitter=0.5, seconds_each=25.0).pauses == [20, 15]


def test_without_patience_nothing_is_waited_for() -> None:
    for provider in (UseAPI(api_key="k"), Fal(api_key="k")):
        done = run(busy(retry_after="0"), patience=0, provider=provider, source=BYTES)
        assert (done.pauses, len(done.to(Purpose.SUBMIT))) == ([], 1)
        assert isinstance(done.error, RateLimited)
        assert "waited" not in str(done.error)


def test_an_upload_refused_so_is_waited_out_and_not_made_again_for_the_submits_sake() -> None:
    done = run(BUSY, ACCEPTED, source=BYTES, uploads=(BUSY,))
    assert [step.purpose.value for step in done.sent] == [
        "receiver", "upload", "upload", "submit", "submit", "receiver",
    ]  # fmt: skip
    assert done.result is not None


@pytest.mark.parametrize("trouble", [lost(Purpose.SUBMIT, maybe_sent=True), answer(500, b""), answer(200, b"<html>")])
def test_patience_never_sends_again_what_may_have_arrived(trouble: Outcome) -> None:
    done = run(BUSY, trouble, ACCEPTED)
    assert isinstance(done.error, SubmitOutcomeUnknown)
    assert len(done.to(Purpose.SUBMIT)) == 2


def test_stopped_while_it_waits_the_job_is_told_as_not_submitted_and_stopped_in_the_post_as_unknown() -> None:
    flow = submit(submission(UseAPI(api_key="k"), EARLIER), RECEIVER, Patience(60, clock=Clock(), jitter=float))
    answers: Iterator[Any] = iter([None, REGISTERED, BUSY])
    outcomes = {}
    for given_answer in answers:
        step = flow.send(given_answer)
        told = dict(step.last_words.json or {})["outcome"] if step.last_words else None
        outcomes[step.purpose.value if isinstance(step, Send) else "pause"] = told
    assert outcomes == {"receiver": None, "submit": "unknown", "pause": "refused"}
    assert isinstance(step, Pause)


def test_a_detached_client_waits_as_well_and_tells_nobody_when_it_is_stopped() -> None:
    detached = dataclasses.replace(submission(UseAPI(api_key="k"), EARLIER), reply_url="https://hooks.example/x")
    flow = submit(detached, None, Patience(60, clock=Clock(), jitter=float))
    steps = [flow.send(given_answer) for given_answer in (None, BUSY, None)]
    assert [step.purpose if isinstance(step, Send) else step.seconds for step in steps] == ["submit", 10.0, "submit"]
    assert [step.last_words for step in steps] == [None] * 3


@given(
    patience=st.floats(0, 600),
    jitter=st.floats(0, 1),
    asked=st.none() | st.integers(0, 400),
    seconds_each=st.floats(0, 90),
)
def test_no_pause_goes_beyond_the_callers_patience(
    patience: float, jitter: float, asked: int | None, seconds_each: float
) -> None:
    refusal = BUSY if asked is None else busy(retry_after=str(asked))
    done = run(refusal, patience=patience, jitter=jitter, seconds_each=seconds_each)
    assert isinstance(done.error, RateLimited)
    assert sum(done.pauses) <= patience + 1e-6
    assert all(pause >= SHORTEST_PAUSE_SECONDS for pause in done.pauses)
    assert len(done.to(Purpose.SUBMIT)) == len(done.pauses) + 1


def test_a_date_is_counted_by_the_other_sides_own_clock() -> None:
    theirs = datetime.now(UTC) - timedelta(days=3)  # three days slow
    headers = {
        "date": format_datetime(theirs, usegmt=True),
        "retry-after": format_datetime(theirs + timedelta(seconds=30), usegmt=True),
    }
    assert HTTPResponse(status=429, headers=headers).retry_after == timedelta(seconds=30)
