"""The order of a submit, driven by hand: register, upload, submit once, report."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replyhook.errors import (
    BadRequest,
    InvalidRequest,
    JobConflict,
    ProviderUnavailable,
    ReceiverError,
    ReceiverUnavailable,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    UnreadableMessage,
)
from replyhook.flows import REPORT_PAUSES, submit, with_purpose
from replyhook.jobs import ExtendRequest, SourceKind, VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.patience import Patience
from replyhook.providers import Provider
from replyhook.providers.fal import Fal
from replyhook.providers.pixverse import PixVerse
from replyhook.providers.segmind import Segmind
from replyhook.providers.useapi import UseAPI
from replyhook.receiver_api import ReceiverAPI
from replyhook.steps import Pause, Purpose, Send, Submission, Submitted

JOB_ID = "job_06gzvyj6038xt427xgy6esgkjx"
RECEIVER = ReceiverAPI(url="https://hooks.example", api_key="rk-geheim")
TOKEN = "eyJ2IjoxfQ.geheim"
REPLY_URL = f"https://hooks.example/callbacks/fal/{TOKEN}"
ADDRESS = VideoSource(kind=SourceKind.URL, text="https://a.example/in.mp4?sig=geheim")
BYTES = VideoSource(kind=SourceKind.DATA, data=b"mp4")

Outcome = HTTPResponse | ReplyhookError


def answer(status: int, content: object) -> HTTPResponse:
    return HTTPResponse(status=status, body=content if isinstance(content, bytes) else json.dumps(content).encode())


REGISTERED = answer(201, {"reply_url": REPLY_URL})
NOTED = answer(200, {})
ACCEPTED = answer(200, {"request_id": "r-1", "video_id": "v-1"})
GRANTED = answer(200, {"upload_url": "https://gcs.example/put", "file_url": "https://f.example/1", "path": "p/1.mp4"})


def lost(purpose: Purpose, *, maybe_sent: bool) -> ReplyhookError:
    """A connection lost, as the clients hand it to the flow."""
    return with_purpose(ReplyhookError("ReadTimeout: "), purpose, maybe_sent=maybe_sent)


def submission(provider: Provider | None = None, source: VideoSource = ADDRESS) -> Submission:
    return Submission(
        job_id=JOB_ID,
        provider=provider or Fal(api_key="sk-geheim"),
        request=ExtendRequest(prompt="a boat turns", duration=5),
        source=source,
        reference="order-42",
        user="u_7",
        notify=["https://my.app/hooks", {"url": "https://my.app/more", "secret": "whsec_geheim"}],
    )


@dataclass
class Run:
    """One submit played to its end: what was sent, in order, and how it ended."""

    sent: list[Send] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    result: Submitted | None = None
    error: ReplyhookError | None = None

    def to(self, purpose: Purpose) -> list[HTTPRequest]:
        return [step.request for step in self.sent if step.purpose is purpose]

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [dict(request.json or {}) for request in self.to(Purpose.RECEIVER) if request.method == "POST"]


def play(what: Submission, outcome_of: Callable[[Send], Outcome], patience: Patience | None = None, *,
         on_pause: Callable[[float], None] = lambda _: None) -> Run:  # fmt: skip
    """Drive the flow as a client does, each request's outcome being what ``outcome_of`` says."""
    run = Run()
    flow = submit(what, RECEIVER, patience or Patience(0, clock=float, jitter=float))
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                run.pauses.append(step.seconds)
                on_pause(step.seconds)
                step = flow.send(None)
                continue
            run.sent.append(step)
            outcome = outcome_of(step)
            step = flow.throw(outcome) if isinstance(outcome, ReplyhookError) else flow.send(outcome)
    except StopIteration as done:
        run.result = done.value
    except ReplyhookError as error:
        run.error = error
    return run


def play_with(*, register: Outcome = REGISTERED, upload: Outcome = GRANTED, accept: Outcome = ACCEPTED,
              report: Outcome = NOTED, what: Submission | None = None) -> Run:  # fmt: skip
    def outcome_of(step: Send) -> Outcome:
        if step.purpose is Purpose.RECEIVER:
            return register if step.request.method == "PUT" else report
        return upload if step.purpose is Purpose.UPLOAD else accept

    return play(what or submission(), outcome_of)


def test_all_well_is_register_submit_report() -> None:
    run = play_with()
    assert [(step.purpose, step.request.method) for step in run.sent] == [
        (Purpose.RECEIVER, "PUT"),
        (Purpose.SUBMIT, "POST"),
        (Purpose.RECEIVER, "POST"),
    ]
    register, told = run.to(Purpose.RECEIVER)
    assert register.url == f"https://hooks.example/v1/jobs/{JOB_ID}"
    assert register.headers["authorization"] == "Bearer rk-geheim"
    assert register.json == {
        "provider": "fal",
        "account": "default",
        "reference": "order-42",
        "user": "u_7",
        "notify": [{"url": "https://my.app/hooks"}, {"url": "https://my.app/more", "secret": "whsec_geheim"}],
        "request": {"prompt": "a boat turns", "duration": 5},
    }
    assert told.url == f"https://hooks.example/v1/jobs/{JOB_ID}/submission"
    assert run.reports == [{"outcome": "accepted", "provider_job_id": "r-1", "error": None}]
    assert run.result == Submitted(provider_job_id="r-1", reply_url=REPLY_URL, reported=True)


def test_the_receivers_reply_url_reaches_the_provider() -> None:
    assert "callbacks%2Ffal%2FeyJ2IjoxfQ.geheim" in play_with().to(Purpose.SUBMIT)[0].url
    useapi = play_with(what=submission(UseAPI(api_key="k"), VideoSource.provider_job("v-0"))).to(Purpose.SUBMIT)[0]
    assert useapi.json is not None
    assert (useapi.json["replyUrl"], useapi.json["replyRef"]) == (REPLY_URL, JOB_ID)


def test_uploads_come_after_the_registration_and_before_the_submit() -> None:
    fal = play_with(what=submission(source=BYTES))
    assert [step.purpose.value for step in fal.sent] == ["receiver", "upload", "upload", "submit", "receiver"]
    assert (fal.to(Purpose.UPLOAD)[1].url, fal.to(Purpose.UPLOAD)[1].upload) == ("https://gcs.example/put", BYTES)
    assert (fal.to(Purpose.SUBMIT)[0].json or {})["video_url"] == "https://f.example/1"
    useapi = play_with(what=submission(UseAPI(api_key="k")))
    assert [step.purpose.value for step in useapi.sent] == ["receiver", "upload", "submit", "receiver"]
    assert (useapi.to(Purpose.SUBMIT)[0].json or {})["video_path"] == "p/1.mp4"


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(401, {"detail": "who?"}), ReceiverError),
        (answer(422, {"field": "notify", "value": "http://10.0.0.1", "allowed": "a public address"}), InvalidRequest),
        (answer(409, {"detail": "another job"}), JobConflict),
        (answer(503, b""), ReceiverUnavailable),
        (answer(200, b"<html>"), UnreadableMessage),
        (answer(200, {"id": JOB_ID}), UnreadableMessage),
        (answer(200, {"reply_url": ""}), UnreadableMessage),
        (lost(Purpose.RECEIVER, maybe_sent=True), ReceiverUnavailable),
    ],
)
def test_a_refused_registration_sends_nothing_to_the_provider(refusal: Outcome, error: type[Exception]) -> None:
    run = play_with(register=refusal, what=submission(source=BYTES))
    assert isinstance(run.error, error)
    assert len(run.sent) == 1


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(422, {"detail": [{"loc": ["body", "prompt"], "msg": "too rude"}]}), BadRequest),
        (answer(503, {"detail": "No runners"}), ProviderUnavailable),
        (lost(Purpose.SUBMIT, maybe_sent=False), ProviderUnavailable),
    ],
)
def test_a_refused_submit_is_told_to_the_receiver_and_raised(refusal: Outcome, error: type[Exception]) -> None:
    run = play_with(accept=refusal)
    assert isinstance(run.error, error)
    assert [report["outcome"] for report in run.reports] == ["refused"]
    assert str(run.error) in run.reports[0]["error"]
    assert len(run.to(Purpose.SUBMIT)) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        lost(Purpose.SUBMIT, maybe_sent=True),
        answer(500, b"<html>"),
        answer(504, b""),
        answer(200, b"<html>"),
        answer(200, {}),
        UnreadableMessage("the answer is larger than 8388608 bytes"),
    ],
    ids=repr,
)
def test_a_submit_that_may_have_arrived_is_unknown_and_sent_once(trouble: Outcome) -> None:
    run = play_with(accept=trouble)
    assert isinstance(run.error, SubmitOutcomeUnknown)
    assert not run.error.retryable
    assert [report["outcome"] for report in run.reports] == ["unknown"]
    assert len(run.to(Purpose.SUBMIT)) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        answer(401, {"detail": "No user found", "error": "No user found"}),
        answer(500, b"<html>"),
        answer(200, b"<html>"),
        lost(Purpose.UPLOAD, maybe_sent=True),
        InvalidRequest("video", "https://a.example/in.mp4", "it could not be fetched"),
        UnreadableMessage("the answer is larger than 8388608 bytes"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("provider", [Fal(api_key="k"), UseAPI(api_key="k")], ids=["fal", "useapi"])
def test_a_failed_upload_starts_nothing_and_the_receiver_is_told_so(provider: Provider, trouble: Outcome) -> None:
    run = play_with(upload=trouble, what=submission(provider, BYTES))
    assert isinstance(run.error, SubmissionRefused | ProviderUnavailable | UnreadableMessage | InvalidRequest)
    assert [report["outcome"] for report in run.reports] == ["refused"]
    assert not run.to(Purpose.SUBMIT)


def test_bytes_refused_by_the_store_they_are_put_into_start_nothing() -> None:
    puts: list[Outcome] = [GRANTED, answer(403, b"<Error/>")]
    run = play(
        submission(source=BYTES),
        lambda step: REGISTERED if step.request.method == "PUT" and step.purpose is Purpose.RECEIVER
        else puts.pop(0) if step.purpose is Purpose.UPLOAD else NOTED,
    )  # fmt: skip
    assert isinstance(run.error, ProviderUnavailable)
    assert [report["outcome"] for report in run.reports] == ["refused"]
    assert not run.to(Purpose.SUBMIT)


@pytest.mark.parametrize("away", [answer(503, b""), answer(429, b""), lost(Purpose.RECEIVER, maybe_sent=True)])
@pytest.mark.parametrize("times", [1, len(REPORT_PAUSES)])
def test_a_report_is_repeated_until_the_receiver_is_back(away: Outcome, times: int) -> None:
    outcomes = [*[away] * times, NOTED]

    def outcome_of(step: Send) -> Outcome:
        if step.purpose is Purpose.SUBMIT:
            return ACCEPTED
        return REGISTERED if step.request.method == "PUT" else outcomes.pop(0)

    run = play(submission(), outcome_of)
    assert run.result is not None
    assert run.result.reported
    assert run.reports == [run.reports[0]] * (times + 1)
    assert run.pauses == list(REPORT_PAUSES[:times])


@pytest.mark.parametrize("away", [answer(500, b""), lost(Purpose.RECEIVER, maybe_sent=False)])
def test_a_receiver_that_stays_away_does_not_cost_the_job(away: Outcome) -> None:
    run = play_with(report=away)
    assert run.result is not None
    assert (run.result.provider_job_id, run.result.reported) == ("r-1", False)
    assert len(run.reports) == len(REPORT_PAUSES) + 1
    assert run.pauses == list(REPORT_PAUSES)


def test_a_report_refused_for_good_is_not_repeated() -> None:
    run = play_with(report=answer(409, {"detail": "another id"}))
    assert run.result is not None
    assert not run.result.reported
    assert len(run.reports) == 1


def test_a_receiver_away_does_not_hide_why_a_submit_failed() -> None:
    away = answer(503, b"")
    assert isinstance(play_with(accept=answer(401, {"detail": "no"}), report=away).error, SubmissionRefused)
    assert isinstance(play_with(accept=answer(500, b""), report=away).error, SubmitOutcomeUnknown)


def ends(purpose: Purpose) -> list[Outcome]:
    return [
        lost(purpose, maybe_sent=True),
        lost(purpose, maybe_sent=False),
        UnreadableMessage("the answer is larger than 8388608 bytes"),
        *[answer(status, b"") for status in (200, 400, 401, 404, 409, 422, 429, 500, 503, 596)],
        *[answer(status, {"detail": "words", "error": "words"}) for status in (400, 422, 500, 503)],
        REGISTERED, NOTED, ACCEPTED, GRANTED,
    ]  # fmt: skip


@settings(max_examples=400)
@given(data=st.data())
def test_wherever_it_breaks_a_submit_is_sent_once_at_most(data: st.DataObject) -> None:
    providers = st.sampled_from([Fal(api_key="k"), UseAPI(api_key="k")])
    what = data.draw(st.builds(submission, providers, st.sampled_from([ADDRESS, BYTES])))
    good: dict[Purpose, Outcome] = {Purpose.UPLOAD: GRANTED, Purpose.SUBMIT: ACCEPTED}

    def outcome_of(step: Send) -> Outcome:
        fine = good.get(step.purpose) or (REGISTERED if step.request.method == "PUT" else NOTED)
        return data.draw(st.just(fine) | st.sampled_from(ends(step.purpose)))

    run = play(what, outcome_of)
    purposes = [step.purpose for step in run.sent]
    assert (run.result is None) != (run.error is None)
    assert purposes.count(Purpose.SUBMIT) <= 1
    assert purposes[0] is Purpose.RECEIVER  # known before money is spent
    outcomes = {report["outcome"] for report in run.reports}
    assert len(outcomes) <= 1
    if Purpose.SUBMIT in purposes:
        assert outcomes
    if run.result is not None:
        assert Purpose.SUBMIT in purposes
        assert outcomes == {"accepted"}
    if isinstance(run.error, SubmitOutcomeUnknown):
        assert Purpose.SUBMIT in purposes
        assert outcomes == {"unknown"}
    elif run.error is not None and Purpose.SUBMIT in purposes:
        assert outcomes == {"refused"}
        assert isinstance(run.error, SubmissionRefused | ProviderUnavailable)


# Relayed: the receiver submits, so there is one request in all, and it goes to the receiver

RELAYED = submission(Segmind())
TAKEN = answer(202, {"id": JOB_ID, "status": "created"})


def test_a_relayed_job_is_one_request_to_the_receiver_and_needs_no_key_of_the_provider() -> None:
    run = play(RELAYED, lambda _: TAKEN)
    (step,) = run.sent
    assert (step.purpose, step.request.method) == (Purpose.RELAY, "POST")
    assert step.request.url == "https://hooks.example/v1/jobs"
    assert step.request.headers["idempotency-key"] == JOB_ID
    assert step.request.json == {
        "id": JOB_ID,
        "provider": "segmind",
        "account": "default",
        "reference": "order-42",
        "user": "u_7",
        "notify": [{"url": "https://my.app/hooks"}, {"url": "https://my.app/more", "secret": "whsec_geheim"}],
        "request": {"prompt": "a boat turns", "duration": 5},
        "video": ADDRESS.text,
    }
    assert run.result == Submitted(provider_job_id=None, reply_url=None, reported=True)
    assert run.pauses == []


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (answer(401, {"detail": "who?"}), ReceiverError),
        (answer(422, {"field": "provider", "value": "segmind", "allowed": "set SEGMIND_API_KEY"}), InvalidRequest),
        (answer(409, {"detail": "another job"}), JobConflict),
        (answer(429, b""), ReceiverUnavailable),
        (lost(Purpose.RELAY, maybe_sent=False), ReceiverUnavailable),
    ],
)
def test_a_relayed_job_that_is_not_taken_is_neither_reported_nor_sent_elsewhere(
    refusal: Outcome, error: type[Exception]
) -> None:
    run = play(RELAYED, lambda _: refusal)
    assert isinstance(run.error, error)
    assert len(run.sent) == 1


LOST = [
    lost(Purpose.RELAY, maybe_sent=True),
    answer(503, b""),
    answer(502, b"<html>"),
    answer(409, {"still_running": True}),
]


@pytest.mark.parametrize("away", LOST, ids=repr)
def test_a_lost_answer_of_the_receiver_is_asked_for_again_with_the_very_same_request(away: Outcome) -> None:
    outcomes = [away, lost(Purpose.RELAY, maybe_sent=False), TAKEN]
    run = play(RELAYED, lambda _: outcomes.pop(0))
    assert run.result is not None
    assert [step.request for step in run.sent] == [run.sent[0].request] * 3
    assert run.pauses == list(REPORT_PAUSES[:2])


@pytest.mark.parametrize("away", LOST, ids=repr)
def test_an_answer_of_the_receiver_that_stays_lost_leaves_the_outcome_open(away: Outcome) -> None:
    run = play(RELAYED, lambda _: away)
    assert isinstance(run.error, SubmitOutcomeUnknown)
    assert "geheim" not in str(run.error)
    assert len(run.sent) == len(REPORT_PAUSES) + 1


def test_a_conflict_after_a_lost_answer_is_still_a_conflict() -> None:
    outcomes = [lost(Purpose.RELAY, maybe_sent=True), answer(409, {"detail": "another job"})]
    run = play(RELAYED, lambda _: outcomes.pop(0))
    assert isinstance(run.error, JobConflict)


def test_nothing_shown_of_a_relayed_submit_is_secret() -> None:
    run = play(RELAYED, lambda _: TAKEN)
    for shown in (repr(RELAYED), repr(run.result), repr(run.sent)):
        assert "geheim" not in shown


def test_a_job_of_another_account_is_registered_with_that_account() -> None:
    provider = PixVerse(api_key="k", webhook_id="1234", account="second")
    taken = answer(200, {"ErrCode": 0, "ErrMsg": "Success", "Resp": {"video_id": 343252978602905}})
    run = play_with(accept=taken, what=submission(provider, VideoSource.provider_job("343252978602904")))
    assert (run.to(Purpose.RECEIVER)[0].json or {})["account"] == "second"
    assert run.reports == [{"outcome": "accepted", "provider_job_id": "343252978602905", "error": None}]


def test_nothing_shown_of_a_submit_is_secret() -> None:
    run = play_with()
    for shown in (repr(submission()), repr(run.result), repr(run.sent), repr(RECEIVER)):
        assert "geheim" not in shown
