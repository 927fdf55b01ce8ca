"""useapi.net registers itself with the contract; what is only useapi's follows."""

from typing import Any, ClassVar

import pytest

from replyhook.errors import (
    AccountBlocked,
    BadRequest,
    InsufficientCredits,
    InvalidRequest,
    Moderated,
    RateLimited,
    SubmitOutcomeUnknown,
    Unauthorized,
)
from replyhook.jobs import ExtendRequest, JobError, JobStatus, SourceKind, VideoSource
from replyhook.messages import HTTPRequest
from replyhook.providers.useapi import UseAPI
from tests.callbacks import recorded
from tests.contracts.provider_contract import API_KEY, JOB_ID, NOW, REPLY_URL, Refusal, TokenOnlyContract, answer

VIDEO_ID = "user:1234-pixverse:jane.doe@example.com-video:112233445566"
ECHOED_JOB = "job_06d1m9k3h4v5w6x7y8z9a0b1c2"
AUTHORIZED = {"authorization": f"Bearer {API_KEY}"}
NO_CREDITS = "All Credits have been used up. Please upgrade your membership or purchase credits."
MODERATED = "Your prompt has triggered our AI moderator, please re-enter your prompt"
ON_HOLD = "Your PixVerse account has pending error."


class TestUseAPI(TokenOnlyContract):
    provider = UseAPI(api_key=API_KEY)
    success = recorded("useapi/completed")
    video_url = "https://media.pixverse.ai/112233445566.mp4"
    incomplete = {  # noqa: RUF012 - read only, as in the contract
        key: value for key, value in success.content.items() if key != "url"
    }
    status_word = "video_status_name"
    accepted = answer(200, {"video_id": VIDEO_ID})
    accepted_id = VIDEO_ID
    source = VideoSource(kind=SourceKind.UPLOAD, text="upload/123.mp4")
    local_source = VideoSource(kind=SourceKind.DATA, data=b"mp4")
    minimal_fields = frozenset({"video_path", "prompt", "replyUrl", "replyRef"})
    CASES: ClassVar[dict[str, list[Any]]] = {
        "refusal": [
            Refusal(status=400, body={"error": "video_id is wrong"}, error=BadRequest, words="video_id is wrong"),
            Refusal(status=401, body={"error": "Unauthorized"}, error=Unauthorized, words="Unauthorized"),
            Refusal(status=412, body={"error": NO_CREDITS}, error=InsufficientCredits, words=NO_CREDITS),
            Refusal(status=422, body={"error": MODERATED}, error=Moderated, words=MODERATED),
            Refusal(
                status=429,
                body={"error": "Reached the limit for concurrent generations."},
                error=RateLimited,
                words="Reached the limit",
            ),
            Refusal(status=596, body={"error": ON_HOLD}, error=AccountBlocked, words=ON_HOLD),
            Refusal(status=200, body={"error": "not today"}, error=BadRequest, words="not today"),
        ],
        "limit": [
            ("prompt", "p" * 2049, "2048"),
            ("negative_prompt", "n" * 2049, "2048"),
            ("duration", 6, "5, 8"),
            ("quality", "720p", "360p, 540p"),
            ("style", "comic", "anime, 3d_animation, clay"),
            ("seed", 0, "1 to 2147483647"),
            ("seed", 2147483648, "1 to 2147483647"),
            ("motion_mode", "slow", "normal, fast"),
            ("model", "v6", "v3.5, v3"),
            ("audio", True, "leave it out"),
            ("watermark", False, "leave it out"),
            ("maxJobs", 9, "1 to 8"),
            ("maxJobs", 0, "1 to 8"),
            ("remove_watermark", "yes", "True or False"),
        ],
    }


USEAPI = TestUseAPI.provider


def test_a_full_submit_is_this_request() -> None:
    asked = ExtendRequest(
        prompt="a boat turns",
        duration=8,
        quality="360p",
        style="anime",
        seed=7,
        negative_prompt="rain",
        motion_mode="fast",
        model="v3",
        options={"maxJobs": 2, "template_id": 11, "remove_watermark": False},
    )
    earlier = VideoSource.provider_job(VIDEO_ID)
    provider = UseAPI(api_key=API_KEY, email="jane.doe@example.com", submit_path="videos/extend-v4")
    assert provider.build_submit(asked, earlier, reply_url=REPLY_URL, job_id=JOB_ID) == HTTPRequest(
        method="POST",
        url="https://api.useapi.net/v2/pixverse/videos/extend-v4",
        headers=AUTHORIZED,
        json={
            "email": "jane.doe@example.com",
            "video_id": VIDEO_ID,
            "prompt": "a boat turns",
            "duration": 8,
            "quality": "360p",
            "style": "anime",
            "seed": 7,
            "negative_prompt": "rain",
            "motion_mode": "fast",
            "model": "v3",
            "maxJobs": 2,
            "template_id": 11,
            "remove_watermark": False,
            "replyUrl": REPLY_URL,
            "replyRef": JOB_ID,
        },
    )


def test_an_address_is_uploaded_and_never_submitted() -> None:
    address = VideoSource(kind=SourceKind.URL, text="https://a.example/in.mp4")
    assert USEAPI.build_upload(address) is not None
    with pytest.raises(InvalidRequest, match="video"):
        USEAPI.build_submit(ExtendRequest(prompt="x"), address, reply_url=REPLY_URL, job_id=JOB_ID)


def test_an_upload_sends_the_bytes_to_the_account_and_gives_a_path() -> None:
    provider = UseAPI(api_key=API_KEY, email="jane+doe@example.com")
    assert provider.build_upload(TestUseAPI.local_source) == HTTPRequest(
        method="POST",
        url="https://api.useapi.net/v2/pixverse/files/?email=jane%2Bdoe%40example.com",
        headers={**AUTHORIZED, "content-type": "video/mp4"},
        upload=TestUseAPI.local_source,
        max_upload_bytes=5 * 1024**3,
    )
    upload = provider.parse_upload(answer(200, {"path": "upload/9.mp4", "url": "https://…"}), TestUseAPI.local_source)
    assert (upload.source, upload.then) == (VideoSource(kind=SourceKind.UPLOAD, text="upload/9.mp4"), None)
    assert "jane" not in repr(provider)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("queued", JobStatus.QUEUED),  # although useapi calls it final
        ("generating", JobStatus.RUNNING),
        ("completed", JobStatus.SUCCEEDED),
        ("nested_reference", JobStatus.SUCCEEDED),
        ("moderated", JobStatus.FAILED),
        ("failed", JobStatus.FAILED),
    ],
)
def test_a_callback_says_how_our_job_stands(name: str, status: JobStatus) -> None:
    event = USEAPI.parse_callback(recorded(f"useapi/{name}").callback(NOW))
    assert (event.status, event.provider_job_id, event.job_id) == (status, VIDEO_ID, ECHOED_JOB)
    assert (event.result is not None) == (status is JobStatus.SUCCEEDED)
    assert (event.error is not None) == (status is JobStatus.FAILED)


def test_an_empty_reference_does_not_hide_the_nested_one() -> None:
    for empty in (None, ""):
        content = {**recorded("useapi/nested_reference").content, "replyRef": empty}
        assert USEAPI.parse_callback(TestUseAPI().callback(_json(content))).job_id == ECHOED_JOB


def test_a_failure_says_why() -> None:
    failed = USEAPI.parse_callback(recorded("useapi/failed").callback(NOW))
    assert failed.error == JobError(code="500043", message="failed at PixVerse")
    moderated = USEAPI.parse_callback(recorded("useapi/moderated").callback(NOW))
    assert moderated.error == JobError(code="MODERATED", message="refused by PixVerse's moderation")


def test_an_error_code_is_a_failure_whatever_the_word() -> None:
    event = USEAPI.parse_callback(TestUseAPI().callback(_json({"video_status_name": "GENERATING", "errCode": 7})))
    assert event.status is JobStatus.FAILED


def test_the_number_speaks_where_the_word_is_missing() -> None:
    for number, status in ((1, JobStatus.SUCCEEDED), (5, JobStatus.QUEUED), (10, JobStatus.RUNNING), (99, None)):
        event = USEAPI.parse_status(answer(200, {"video_id": VIDEO_ID, "video_status": number}), VIDEO_ID)
        assert event is not None
        assert event.status is status


def test_a_status_answer_becomes_the_same_event_as_the_callback() -> None:
    for name in ("queued", "generating", "completed", "moderated", "failed"):
        callback = recorded(f"useapi/{name}")
        assert USEAPI.parse_status(answer(200, callback.body), VIDEO_ID) == USEAPI.parse_callback(
            callback.callback(NOW)
        )


def test_there_is_no_second_question_and_no_cancel() -> None:
    assert USEAPI.build_result(VIDEO_ID) is None
    assert USEAPI.build_cancel(VIDEO_ID) is None
    assert not USEAPI.capabilities.can_cancel


def test_an_undocumented_503_may_have_started_the_job() -> None:
    with pytest.raises(SubmitOutcomeUnknown):
        USEAPI.parse_submit(answer(503, {"error": "Service unavailable"}))


def _json(content: object) -> bytes:
    return answer(200, content).body


@pytest.mark.parametrize(
    ("email", "query"), [(None, "?limit=40"), ("jane.doe@example.com", "email=jane.doe%40example.com")]
)
def test_a_lost_job_is_looked_for_among_the_latest_videos_of_the_account(email: str | None, query: str) -> None:
    request = UseAPI(api_key=API_KEY, email=email).build_search(ECHOED_JOB)
    assert request is not None
    assert (request.method, request.headers) == ("GET", AUTHORIZED)
    assert request.url.partition("?")[0] == "https://api.useapi.net/v2/pixverse/videos/"
    assert query in request.url


def test_a_lost_job_is_known_by_our_own_id_wherever_the_list_has_it() -> None:
    other = {"video_id": "v-0", "video_status_name": "COMPLETED", "replyRef": "job_another"}
    for mine in ({"replyRef": ECHOED_JOB}, {"response": {"replyRef": ECHOED_JOB}}):
        found = USEAPI.parse_search(answer(200, {"data": [other, {"video_id": VIDEO_ID} | mine]}), ECHOED_JOB)
        assert found is not None
        assert found.provider_job_id == VIDEO_ID


@pytest.mark.parametrize(
    "data", [None, {}, [], [None, "x", {}], [{"video_id": VIDEO_ID}], [{"replyRef": ECHOED_JOB}]], ids=str
)
def test_a_list_that_does_not_hold_the_job_with_its_id_finds_nothing(data: Any) -> None:
    assert USEAPI.parse_search(answer(200, {"data": data}), ECHOED_JOB) is None


def test_a_refused_look_at_the_list_is_an_error_not_a_missing_job() -> None:
    with pytest.raises(Unauthorized):
        USEAPI.parse_search(answer(401, {"error": "Unauthorized"}), ECHOED_JOB)
