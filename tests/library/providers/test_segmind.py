"""Segmind registers itself with the contract, but for what needs a callback or an upload; what is only its follows."""

from typing import Any, ClassVar

import pytest

from replyhook.errors import (
    BadRequest,
    ConfigurationError,
    InsufficientCredits,
    InvalidRequest,
    ProviderUnavailable,
    RateLimited,
    SubmitOutcomeUnknown,
    Unauthorized,
    UnreadableMessage,
)
from replyhook.jobs import Asset, ExtendRequest, JobError, JobStatus, SourceKind, Trust, VideoSource
from replyhook.messages import HTTPRequest
from replyhook.providers import CallbackKind, VerificationKeys
from replyhook.providers.segmind import Segmind
from tests.callbacks import recorded
from tests.contracts.provider_contract import API_KEY, JOB_ID, NOW, REPLY_URL, ProviderContract, Refusal, answer

REQUEST_ID = "2c7f59ea-13f1-402c-9353-915a2b5a2124"
VIDEO_URL = "https://images.segmind.com/generations/2c7f59ea.mp4"
INPUT_URL = (  # the seed's own example
    "https://segmind-resources.s3.amazonaws.com/input/a4f87ceb-6a9a-4861-8b9b-2c2f846090a7-33a2d4a1-c111-47c2-866e-"
    "2788a98bb055-15631ab4-3aaf-4e49-a433-c2c3b86f7938.mp4"
)
AUTHORIZED = {"x-api-key": API_KEY}
WITHOUT_VIDEO: list[dict[str, Any]] = [
    {}, {"output": ""}, {"output": "a boat turns"}, {"output": "http://["}, {"video": {"path": VIDEO_URL}},
    {"output": [[[[VIDEO_URL]]]]}, {"message": "queued"},
]  # fmt: skip
FILLED = {"duration": 5, "quality": "540p", "motion_mode": "normal"}


class TestSegmind(ProviderContract):
    provider = Segmind(api_key=API_KEY)
    success = recorded("segmind/completed")
    video_url = VIDEO_URL
    incomplete = recorded("segmind/completed_without_output").content
    status_word = "status"
    accepted = answer(200, recorded("segmind/queued").content)
    accepted_id = REQUEST_ID
    source = VideoSource(kind=SourceKind.URL, text=INPUT_URL)
    local_source = VideoSource(kind=SourceKind.DATA, data=b"mp4")
    minimal_fields = frozenset({"prompt", "video_url", "duration", "quality", "motion_mode"})
    CASES: ClassVar[dict[str, list[Any]]] = {
        "refusal": [
            Refusal(status=400, body={"error": "bad video_url"}, error=BadRequest, words="bad video_url"),
            Refusal(status=401, body={"error": "API key is invalid"}, error=Unauthorized, words="key is invalid"),
            Refusal(
                status=401,
                body={"error": "invalid_token", "error_description": "Token is expired.", "status_code": 401},
                error=Unauthorized,
                words="Token is expired.",
            ),
            Refusal(status=402, body={"error": "pay first"}, error=InsufficientCredits, words="pay first"),
            Refusal(status=403, body={"error": "not your model"}, error=Unauthorized, words="not your model"),
            Refusal(status=404, body={"error": "no such model"}, error=BadRequest, words="no such model"),
            Refusal(status=406, body={"error": "Insufficient credits"}, error=InsufficientCredits, words="Insuff"),
            Refusal(status=406, body={}, error=InsufficientCredits, words="HTTP 406"),
            Refusal(status=406, body={"error": "Invalid content type"}, error=BadRequest, words="content type"),
            Refusal(status=410, body={"error": "retired"}, error=BadRequest, words="retired"),
            Refusal(status=422, body={"status": "FAILED", "error": "no video"}, error=BadRequest, words="no video"),
            Refusal(status=429, body={"error": "rate_limit_exceeded"}, error=RateLimited, words="rate_limit"),
            Refusal(status=500, body={"error": "internal"}, error=SubmitOutcomeUnknown, words="internal"),
        ],
        "limit": [
            ("prompt", None, "required"),
            ("duration", 6, "5, 8"),
            ("duration", "5", "5, 8"),
            ("quality", "480p", "360p, 540p, 720p, 1080p"),
            ("motion_mode", "slow", "normal, fast"),
            ("seed", 0, "1 to 999999"),
            ("seed", 1000000, "1 to 999999"),
            ("negative_prompt", "", "not empty"),
            ("style", "clay", "leave it out"),  # only for v3.5
            ("audio", True, "leave it out"),
            ("model", "v3.5", "leave it out"),
            ("watermark", False, "leave it out"),
        ],
    }

    def test_the_api_key_travels_in_the_authorization_header_alone(self) -> None:
        """Segmind's own header, since it refuses the key as a bearer token."""
        upload = self.provider.build_upload(self.local_source)
        asked = (self.submit_request(), self.provider.build_status("id"), self.provider.build_result("id"), upload)
        for request in asked:
            assert request is not None
            assert AUTHORIZED.items() <= request.headers.items()
            assert API_KEY not in f"{request.url}{request.json}{request!r}"
        assert API_KEY not in repr(self.provider)


SEGMIND = TestSegmind.provider


def submit(provider: Segmind = SEGMIND, /, **asked: Any) -> HTTPRequest:
    request = provider.capabilities.prepare(ExtendRequest(**{"prompt": "horse race", **asked}))
    return provider.build_submit(request, TestSegmind.source, reply_url=REPLY_URL, job_id=JOB_ID)


def test_the_least_submit_carries_what_segmind_requires() -> None:
    assert submit() == HTTPRequest(
        method="POST",
        url="https://api.segmind.com/v1/pixverse-5-extend",
        headers=AUTHORIZED,
        json={"video_url": INPUT_URL, "prompt": "horse race", **FILLED},
    )


def test_a_full_submit_is_this_request() -> None:
    asked: dict[str, Any] = {
        **FILLED,
        "duration": 8,
        "quality": "720p",
        "seed": 56698,
        "negative_prompt": "No sudden movements",
    }
    assert submit(**asked).json == {"video_url": INPUT_URL, "prompt": "horse race", **asked}


def test_a_file_goes_to_the_asset_store_as_base64_and_is_an_url_then() -> None:
    source = VideoSource(kind=SourceKind.FILE, text="/home/jane/geheim.mov")
    assert SEGMIND.build_upload(source) == HTTPRequest(
        method="POST",
        url="https://workflows-api.segmind.com/upload-asset",
        headers={**AUTHORIZED, "content-type": "application/json"},
        upload=source,
        upload_frame=('{"data_urls":["data:video/quicktime;base64,', '"]}'),
    )
    stored = {"file_urls": ["https://images.segmind.com/assets/1.mov"], "message": "Files uploaded successfully"}
    upload = SEGMIND.parse_upload(answer(200, stored), source)
    assert (upload.source.kind, upload.source.text) == (SourceKind.URL, "https://images.segmind.com/assets/1.mov")
    for nothing in ({}, {"file_urls": []}, {"file_urls": ["not a link"]}, {"file_urls": "https://a.example/1"}):
        with pytest.raises(UnreadableMessage, match="file_urls"):
            SEGMIND.parse_upload(answer(200, nothing), source)


def test_the_reply_url_goes_nowhere() -> None:
    request = submit()
    sent = f"{request.url}{request.headers}{request.json}"
    assert "hooks.example" not in sent
    assert JOB_ID not in sent
    assert SEGMIND.capabilities.callback is CallbackKind.NONE
    assert not SEGMIND.capabilities.signed


def test_the_mode_is_the_version_in_the_address() -> None:
    assert submit(Segmind(api_key=API_KEY, mode="v2")).url == "https://api.segmind.com/v2/pixverse-5-extend"
    with pytest.raises(ConfigurationError, match="v1 or v2, not 'v3'"):
        Segmind(mode="v3")


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        ({"motion_mode": "fast", "duration": 8}, "duration", "only 5 with motion_mode='fast'"),
        ({"quality": "1080p", "duration": 8}, "duration", "only 5 with quality='1080p'"),
        ({"quality": "1080p", "motion_mode": "fast"}, "motion_mode", "only normal with quality='1080p'"),
        ({"quality": "1080p", "motion_mode": "fast", "duration": 5}, "motion_mode", "only normal"),
    ],
    ids=str,
)
def test_a_limit_in_company_is_named_when_broken(asked: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        submit(**asked)
    assert (caught.value.field, caught.value.value) == (field, asked[field])
    assert allowed in str(caught.value)
    assert "segmind" in str(caught.value)


@pytest.mark.parametrize(
    "asked",
    [{"motion_mode": "fast"}, {"quality": "1080p"}, {"quality": "720p", "duration": 8}, {"seed": 1}, {"seed": 999999}],
    ids=str,
)
def test_what_the_limits_allow_is_sent(asked: dict[str, Any]) -> None:
    request = submit(**asked)
    assert request.json is not None
    assert asked.items() <= request.json.items()


def test_a_video_that_is_no_url_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError, match="data"):
        SEGMIND.build_submit(ExtendRequest(prompt="x"), TestSegmind.local_source, reply_url=REPLY_URL, job_id=JOB_ID)


@pytest.mark.parametrize(
    "body",
    [
        {"video": {"url": VIDEO_URL, "content_type": "video/mp4"}},
        {"video": VIDEO_URL},
        {"video": [{"url": VIDEO_URL}]},
        {"output": VIDEO_URL},
        {"output": [VIDEO_URL]},
        {"output": {"url": VIDEO_URL}},
        {"output": {"video_url": VIDEO_URL}},
        {"output": {"video": {"url": VIDEO_URL}}},
        {"output": [{"url": VIDEO_URL}]},
        {"video_url": VIDEO_URL},
        {"url": VIDEO_URL},
        {"video": None, "output": "done", "url": VIDEO_URL},
        {"video_url": INPUT_URL, "output": VIDEO_URL},  # the request's own, sent back
        {"error": "a warning", "output": VIDEO_URL},
        {"status": "success", "output": VIDEO_URL},  # a word we do not know does not cost the video
    ],
    ids=str,
)
def test_a_blocking_answer_brings_its_video_under_any_likely_name(body: dict[str, Any]) -> None:
    event = SEGMIND.parse_callback(TestSegmind().callback(answer(200, body).body))
    assert (event.status, event.result, event.error) == (JobStatus.SUCCEEDED, Asset(url=VIDEO_URL), None)
    assert event.provider_job_id is None


@pytest.mark.parametrize("body", WITHOUT_VIDEO, ids=str)
def test_a_blocking_answer_without_a_video_is_not_yet_a_success(body: dict[str, Any]) -> None:
    event = SEGMIND.parse_callback(TestSegmind().callback(answer(200, body).body))
    assert (event.status, event.result, event.error) == (JobStatus.SUCCEEDED, None, None)
    with pytest.raises(SubmitOutcomeUnknown):  # and there is no id to ask about it with
        SEGMIND.parse_submit(answer(200, body))


def test_a_blocking_answer_with_nothing_but_an_error_is_a_failure() -> None:
    event = SEGMIND.parse_callback(TestSegmind().callback(b'{"error": "the model gave up"}'))
    assert (event.status, event.error) == (JobStatus.FAILED, JobError(code=None, message="the model gave up"))


@pytest.mark.parametrize(
    ("name", "status", "result"),
    [
        ("completed", JobStatus.SUCCEEDED, Asset(url=VIDEO_URL)),
        ("blocking_video_object", JobStatus.SUCCEEDED, Asset(url=VIDEO_URL)),
        ("completed_without_output", JobStatus.SUCCEEDED, None),
        ("queued", JobStatus.QUEUED, None),
        ("failed", JobStatus.FAILED, None),
    ],
)
def test_a_relayed_answer_says_how_the_job_stands(name: str, status: JobStatus, result: Asset | None) -> None:
    event = SEGMIND.parse_callback(recorded(f"segmind/{name}").callback(NOW))
    assert (event.status, event.result) == (status, result)


def test_a_link_beside_a_failure_is_no_result() -> None:
    body = {**recorded("segmind/failed").content, "output": VIDEO_URL}
    event = SEGMIND.parse_callback(TestSegmind().callback(answer(200, body).body))
    assert (event.status, event.result) == (JobStatus.FAILED, None)


def test_status_and_result_are_asked_of_v2() -> None:
    base = f"https://api.segmind.com/v2/requests/{REQUEST_ID}"
    assert SEGMIND.build_status(REQUEST_ID) == HTTPRequest(method="GET", url=f"{base}/status", headers=AUTHORIZED)
    assert SEGMIND.build_result(REQUEST_ID) == HTTPRequest(method="GET", url=base, headers=AUTHORIZED)
    assert SEGMIND.build_cancel(REQUEST_ID) is None
    assert not SEGMIND.capabilities.can_cancel


@pytest.mark.parametrize(
    ("word", "status"),
    [("QUEUED", JobStatus.QUEUED), ("PROCESSING", JobStatus.RUNNING), ("COMPLETED", JobStatus.SUCCEEDED)],
)
def test_a_status_word_is_ours(word: str, status: JobStatus) -> None:
    for parse in (SEGMIND.parse_status, SEGMIND.parse_result):
        event = parse(answer(200, {"status": word, "metrics": {}}), REQUEST_ID)
        assert event is not None
        assert (event.status, event.result, event.provider_job_id) == (status, None, REQUEST_ID)


def test_the_result_is_fetched_apart() -> None:
    whole = answer(200, TestSegmind.success.content)
    status, result = SEGMIND.parse_status(whole, REQUEST_ID), SEGMIND.parse_result(whole, REQUEST_ID)
    assert status is not None
    assert (status.status, status.result) == (JobStatus.SUCCEEDED, None)
    assert result == SEGMIND.parse_callback(TestSegmind.success.callback(NOW))


@pytest.mark.parametrize("status", [200, 422])
def test_a_failed_job_is_one_under_http_422_too(status: int) -> None:
    for parse in (SEGMIND.parse_status, SEGMIND.parse_result):
        event = parse(answer(status, recorded("segmind/failed").content), REQUEST_ID)
        assert event is not None
        assert (event.status, event.provider_job_id) == (JobStatus.FAILED, REQUEST_ID)
        assert event.error == JobError(code=None, message="Prompt is Mandatory and must be string")


def test_a_422_about_the_question_is_not_the_jobs_failure() -> None:
    for parse in (SEGMIND.parse_status, SEGMIND.parse_result):
        with pytest.raises(BadRequest, match="what is this"):
            parse(answer(422, {"error": "what is this"}), "id")


def test_a_record_that_has_expired_is_no_news() -> None:
    expired = answer(404, {"error": f"Request {REQUEST_ID} not found"})
    assert SEGMIND.parse_status(expired, REQUEST_ID) is None
    assert SEGMIND.parse_result(expired, REQUEST_ID) is None


def test_a_refused_question_is_no_unknown_submit() -> None:
    for status, kind in ((401, Unauthorized), (429, RateLimited), (500, ProviderUnavailable)):
        with pytest.raises(kind, match="no"):
            SEGMIND.parse_result(answer(status, {"error": "no"}), REQUEST_ID)


def test_what_comes_in_for_it_was_relayed_by_us() -> None:
    callback = TestSegmind.success.callback(NOW)
    assert SEGMIND.verify(callback, keys=VerificationKeys(), now=NOW) is Trust.RELAYED
    assert (SEGMIND.sender(callback), SEGMIND.nonce(callback)) == (None, None)
    assert (SEGMIND.account, SEGMIND.jwks_url, SEGMIND.callback_secrets("default")) == ("default", None, ())
