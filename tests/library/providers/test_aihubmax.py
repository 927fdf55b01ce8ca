"""AIHubMax registers itself with the contract; what is only AIHubMax's (and EvoLink's) follows."""

from typing import Any, ClassVar

import pytest

from replyhook.errors import (
    BadRequest,
    InsufficientCredits,
    ProviderUnavailable,
    RateLimited,
    SubmitOutcomeUnknown,
    Unauthorized,
)
from replyhook.jobs import Asset, ExtendRequest, JobError, JobStatus, SourceKind, VideoSource
from replyhook.messages import HTTPRequest
from replyhook.providers.aihubmax import AIHubMax
from tests.callbacks import recorded
from tests.contracts.provider_contract import API_KEY, JOB_ID, NOW, REPLY_URL, Refusal, TokenOnlyContract, answer

TASK_ID = "task-unified-1757165031-uyujaw3d"
INPUT_URL = "https://a.example/in.mp4"
AUTHORIZED = {"authorization": f"Bearer {API_KEY}"}
STYLES = "anime, 3d_animation, clay, comic, cyberpunk"
PENDING = {  # the submit's answer: the page's field list [seed 000] in the form of the gateway's guide
    "created": 1757165031,
    "id": TASK_ID,
    "model": "pixverse-v6-extend",
    "object": "video.generation.task",
    "progress": 0,
    "status": "pending",
    "task_info": {"can_cancel": True, "estimated_time": 45},
    "type": "video",
}


def error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """The gateway's error body."""
    return {"error": {"message": message, "type": kind, **({"code": code} if code else {})}}


class TestAIHubMax(TokenOnlyContract):
    provider = AIHubMax(api_key=API_KEY, media_hosts=("example.com",))  # the documents' own example; none is published
    success = recorded("aihubmax/completed")
    video_url = "https://example.com/output-video.mp4"
    incomplete = recorded("aihubmax/completed_without_results").content
    status_word = "status"
    accepted = answer(200, PENDING)
    accepted_id = TASK_ID
    source = VideoSource(kind=SourceKind.URL, text=INPUT_URL)
    local_source = VideoSource(kind=SourceKind.DATA, data=b"mp4")
    minimal_fields = frozenset({"model", "prompt", "video_url", "callback_url"})
    CASES: ClassVar[dict[str, list[Any]]] = {
        "refusal": [
            Refusal(status=400, body=error("bad body", "invalid_request_error"), error=BadRequest, words="bad body"),
            Refusal(status=401, body=error("no such key", "authentication_error"), error=Unauthorized, words="no such"),
            Refusal(status=402, body=error("top up", "insufficient_quota"), error=InsufficientCredits, words="top up"),
            Refusal(status=404, body=error("no route", "not_found"), error=BadRequest, words="no route"),
            Refusal(status=422, body=error("duration: 1-15", "validation_error"), error=BadRequest, words="duration"),
            Refusal(status=422, body=error("no channel", "x", "model_not_found"), error=BadRequest, words="no channel"),
            Refusal(status=422, body={}, error=BadRequest, words="HTTP 422"),
            Refusal(status=429, body=error("slow down", "rate_limit_error"), error=RateLimited, words="slow down"),
            Refusal(status=500, body=error("oops", "server_error"), error=SubmitOutcomeUnknown, words="oops"),
            Refusal(status=503, body=error("later", "service_unavailable"), error=SubmitOutcomeUnknown, words="later"),
        ],
        "limit": [
            ("model", "pixverse-v5", "one of pixverse-v6-extend"),
            ("prompt", None, "required"),
            ("prompt", 7, "not empty"),
            ("duration", 0, "1 to 15"),
            ("duration", 16, "1 to 15"),
            ("duration", 5.0, "1 to 15"),
            ("quality", "480p", "360p, 540p, 720p, 1080p"),
            ("style", "noir", STYLES),
            ("seed", "7", "whole number"),
            ("negative_prompt", "", "not empty"),
            ("audio", "yes", "True or False"),
            ("motion_mode", "fast", "leave it out"),
            ("watermark", False, "leave it out"),
        ],
    }


AIHUBMAX = TestAIHubMax.provider


def test_a_full_submit_is_this_request() -> None:
    asked = ExtendRequest(
        prompt="a boat turns", duration=15, quality="1080p", style="clay", seed=7, negative_prompt="rain", audio=False
    )
    prepared = AIHUBMAX.capabilities.prepare(asked)
    assert AIHUBMAX.build_submit(prepared, TestAIHubMax.source, reply_url=REPLY_URL, job_id=JOB_ID) == HTTPRequest(
        method="POST",
        url="https://api.aihubmax.com/v1/videos/generations",
        headers=AUTHORIZED,
        json={
            "model": "pixverse-v6-extend",
            "prompt": "a boat turns",
            "video_url": INPUT_URL,
            "duration": 15,
            "resolution": "1080p",
            "style": "clay",
            "seed": 7,
            "negative_prompt": "rain",
            "generate_audio": False,
            "callback_url": REPLY_URL,
        },
    )


def test_the_undocumented_callback_url_can_be_switched_off() -> None:
    assert AIHubMax().send_callback_url
    quiet = AIHubMax(api_key=API_KEY, send_callback_url=False)
    request = quiet.build_submit(ExtendRequest(prompt="x"), TestAIHubMax.source, reply_url=REPLY_URL, job_id=JOB_ID)
    assert request.json == {"prompt": "x", "video_url": INPUT_URL}
    assert "hooks.example" not in f"{request.url}{request.headers}"


def test_another_gateway_of_the_kind_is_another_address() -> None:
    evolink = AIHubMax(api_key=API_KEY, base_url="https://api.evolink.ai")
    assert evolink.build_status(TASK_ID) == HTTPRequest(
        method="GET", url=f"https://api.evolink.ai/v1/tasks/{TASK_ID}", headers=AUTHORIZED
    )


def test_no_media_host_is_invented() -> None:
    capabilities = AIHubMax(api_key=API_KEY).capabilities
    assert capabilities.media_hosts == ()
    assert not capabilities.allows_host("example.com")
    assert any("media_hosts" in note for note in capabilities.notes)


@pytest.mark.parametrize(
    "source", [TestAIHubMax.local_source, VideoSource(kind=SourceKind.FILE, text="/v/in.mp4")], ids=["bytes", "file"]
)
def test_an_upload_is_a_form_with_the_video_as_its_file(source: VideoSource) -> None:
    assert AIHUBMAX.build_upload(source) == HTTPRequest(
        method="POST",
        url="https://api.aihubmax.com/v1/files/upload/stream",
        headers=AUTHORIZED,
        form={"file_name": "video.mp4"},
        upload_field="file",
        upload=source,
    )
    stored = {"id": "f1", "filename": "video.mp4", "url": "https://files.example/f1.mp4", "size": 3, "created": 1}
    upload = AIHUBMAX.parse_upload(answer(200, stored), source)
    assert upload.then is None
    assert upload.source == VideoSource(kind=SourceKind.UPLOAD, text="https://files.example/f1.mp4")
    request = AIHUBMAX.build_submit(ExtendRequest(prompt="x"), upload.source, reply_url=REPLY_URL, job_id=JOB_ID)
    assert request.json is not None
    assert request.json["video_url"] == "https://files.example/f1.mp4"


def test_an_upload_refused_has_started_nothing() -> None:
    for status, kind in ((401, Unauthorized), (413, BadRequest), (429, RateLimited), (500, ProviderUnavailable)):
        with pytest.raises(kind, match="no"):
            AIHUBMAX.parse_upload(answer(status, error("no", "x")), TestAIHubMax.local_source)


def test_a_refusal_keeps_the_code_or_else_the_type() -> None:
    for body, code in (
        (error("no", "validation_error", "model_not_found"), "model_not_found"),
        (error("no", "validation_error"), "validation_error"),
        ({"error": "no"}, None),
    ):
        with pytest.raises(BadRequest, match="no") as caught:
            AIHUBMAX.parse_submit(answer(422, body))
        assert caught.value.code == code


def test_results_are_objects_or_plain_strings() -> None:
    plain = AIHUBMAX.parse_callback(recorded("aihubmax/completed_evolink").callback(NOW))
    assert plain.result == Asset(url="http://example.com/image.jpg")
    assert plain.provider_job_id == "task-unified-1756817821-4x3rx6ny"
    entry = {"url": TestAIHubMax.video_url, "content_type": "video/mp4"}
    for results in ([entry], [None, 7, {}, "", "not a link", "http://[", entry, "https://example.com/second.mp4"]):
        body = answer(200, {"id": TASK_ID, "status": "completed", "results": results})
        event = AIHUBMAX.parse_status(body, TASK_ID)
        assert event is not None
        assert event.result == Asset(url=TestAIHubMax.video_url, content_type="video/mp4")


@pytest.mark.parametrize("results", [None, [], {}, "https://example.com/x.mp4", [{}], [None], [""], [[]]], ids=repr)
def test_completed_without_results_is_not_yet_a_success(results: object) -> None:
    event = AIHUBMAX.parse_status(answer(200, {**PENDING, "status": "completed", "results": results}), TASK_ID)
    assert event is not None
    assert (event.status, event.result) == (JobStatus.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", JobStatus.QUEUED),
        ("processing", JobStatus.RUNNING),
        ("completed", JobStatus.SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELED),
        ("Completed", None),
        ("canceled", None),
    ],
)
def test_a_status_word_is_ours(word: str, status: JobStatus | None) -> None:
    event = AIHUBMAX.parse_status(answer(200, {**PENDING, "status": word, "progress": 45}), TASK_ID)
    assert event is not None
    assert (event.status, event.progress, event.word) == (status, 45, word)


@pytest.mark.parametrize("progress", [-1, 101, True, 4.5, "45", None], ids=repr)
def test_a_progress_that_is_no_percentage_is_left_out(progress: object) -> None:
    event = AIHUBMAX.parse_status(answer(200, {**PENDING, "progress": progress}), TASK_ID)
    assert event is not None
    assert event.progress is None


def test_a_failure_says_why() -> None:
    event = AIHUBMAX.parse_callback(recorded("aihubmax/failed").callback(NOW))
    assert (event.status, event.provider_job_id) == (JobStatus.FAILED, TASK_ID)
    assert event.error == JobError(code="generation_failed", message="The upstream model could not extend this video")


def test_a_failure_without_a_reason_is_a_failure_still() -> None:
    reasons: tuple[Any, ...] = (None, {}, {"message": ""}, {"message": 7, "code": 7}, [])
    for reason in reasons:
        event = AIHUBMAX.parse_status(answer(200, {**PENDING, "status": "failed", "error": reason}), TASK_ID)
        assert event is not None
        assert event.error == JobError(code=None, message="failed at AIHubMax")


def test_a_cancelled_job_is_canceled_and_no_failure() -> None:
    event = AIHUBMAX.parse_callback(recorded("aihubmax/cancelled").callback(NOW))
    assert (event.status, event.error, event.result) == (JobStatus.CANCELED, None, None)


def test_a_status_answer_becomes_the_same_event_as_the_callback() -> None:
    for name in ("completed", "completed_without_results", "failed", "cancelled"):
        callback = recorded(f"aihubmax/{name}")
        event = AIHUBMAX.parse_status(answer(200, callback.body), TASK_ID)
        assert event == AIHUBMAX.parse_callback(callback.callback(NOW))


def test_an_unknown_task_is_no_news() -> None:
    assert AIHUBMAX.parse_status(answer(404, error("no such task", "not_found")), TASK_ID) is None


def test_there_is_no_second_question_and_no_cancel() -> None:
    assert AIHUBMAX.build_result(TASK_ID) is None
    assert AIHUBMAX.build_cancel(TASK_ID) is None
    assert not AIHUBMAX.capabilities.can_cancel


def test_a_yes_with_an_error_and_no_id_leaves_the_outcome_unknown() -> None:
    with pytest.raises(SubmitOutcomeUnknown, match="half way"):
        AIHUBMAX.parse_submit(answer(200, error("half way", "server_error")))


def test_there_are_no_secrets_and_one_account() -> None:
    callback = TestAIHubMax.success.callback(NOW)
    assert (AIHUBMAX.account, AIHUBMAX.jwks_url) == ("default", None)
    assert (AIHUBMAX.callback_secrets("default"), AIHUBMAX.nonce(callback)) == ((), None)
