"""fal registers itself with the contract; what is only fal's follows."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from nacl.signing import SigningKey

from replyhook.errors import (
    BadRequest,
    InsufficientCredits,
    Moderated,
    NoMatchingKey,
    ProviderUnavailable,
    RateLimited,
    Unauthorized,
    VerificationError,
)
from replyhook.jobs import Asset, ExtendRequest, JobError, JobStatus, SourceKind, VideoSource
from replyhook.messages import HTTPRequest
from replyhook.providers import VerificationKeys
from replyhook.providers.fal import Fal
from tests.callbacks import recorded
from tests.contracts.provider_contract import API_KEY, JOB_ID, NOW, REPLY_URL, Refusal, SignedContract, answer

SIGNING_KEY = SigningKey(hashlib.sha256(b"the key of these tests").digest())
OTHER_KEY = SigningKey(hashlib.sha256(b"another key").digest())
REQUEST_ID = "123e4567-e89b-12d3-a456-426614174000"
INPUT_URL = "https://v3.fal.media/files/rabbit/88-jI3VWXU4Q8kSNrWo3c_output.mp4"
AUTHORIZED = {"authorization": f"Key {API_KEY}"}
MISSING_PROMPT = [{"loc": ["body", "prompt"], "msg": "field required", "type": "value_error.missing"}]


def sign(body: bytes, at: datetime, *, request_id: str = REQUEST_ID, user_id: str = "fal-user-1") -> dict[str, str]:
    """fal's four headers as its documents describe them, by PyNaCl."""
    timestamp = str(int(at.timestamp()))
    message = "\n".join((request_id, user_id, timestamp, hashlib.sha256(body).hexdigest())).encode()
    return {
        "x-fal-webhook-request-id": request_id,
        "x-fal-webhook-user-id": user_id.encode().decode("latin-1"),  # as it comes off the wire
        "x-fal-webhook-timestamp": timestamp,
        "x-fal-webhook-signature": SIGNING_KEY.sign(message).signature.hex(),
    }


class TestFal(SignedContract):
    provider = Fal(api_key=API_KEY)
    success = recorded("fal/success")
    video_url = INPUT_URL
    incomplete = recorded("fal/payload_null").content
    status_word = "status"
    accepted = answer(200, {"request_id": REQUEST_ID, "gateway_request_id": REQUEST_ID, "status_url": "https://…"})
    accepted_id = REQUEST_ID
    source = VideoSource(kind=SourceKind.URL, text=INPUT_URL)
    local_source = VideoSource(kind=SourceKind.DATA, data=b"mp4")
    minimal_fields = frozenset({"video_url", "prompt"})
    keys = VerificationKeys(public_keys=[bytes(SIGNING_KEY.verify_key)])
    other_keys = VerificationKeys(public_keys=[bytes(OTHER_KEY.verify_key)])
    junk_keys = VerificationKeys(public_keys=[b"", b"short", b"\x00" * 32, b"\xff" * 33])
    tolerance = timedelta(seconds=300)
    CASES: ClassVar[dict[str, list[Any]]] = {
        "refusal": [
            Refusal(status=400, body={"detail": "bad video"}, error=BadRequest, words="bad video"),
            Refusal(status=401, body={"detail": "No user found"}, error=Unauthorized, words="No user found"),
            Refusal(status=402, body={"detail": "Top up"}, error=InsufficientCredits, words="Top up"),
            Refusal(status=403, body={"detail": "Forbidden"}, error=Unauthorized, words="Forbidden"),
            Refusal(
                status=403,
                body={"detail": "User is locked. Reason: Exhausted balance. Top up your balance."},
                error=InsufficientCredits,
                words="Exhausted balance",
            ),
            Refusal(
                status=422,
                body={"detail": MISSING_PROMPT, "error_type": "validation_error"},
                error=BadRequest,
                words="body.prompt: field required",
            ),
            Refusal(
                status=422,
                body={"detail": [{"loc": ["body"], "msg": "flagged", "type": "content_policy_violation"}]},
                error=Moderated,
                words="flagged",
            ),
            Refusal(  # fal repeats the caller's input: its words are no reason
                status=422,
                body={"detail": [{"loc": ["body", "seed"], "msg": "not an int", "input": "a moderate breeze"}]},
                error=BadRequest,
                words="body.seed: not an int",
            ),
            Refusal(status=429, body={"detail": "Slow down"}, error=RateLimited, words="Slow down"),
            Refusal(status=503, body={"detail": "No runners"}, error=ProviderUnavailable, words="No runners"),
        ],
        "limit": [
            ("duration", 0, "1 to 15"),
            ("duration", 16, "1 to 15"),
            ("duration", 5.0, "1 to 15"),
            ("duration", True, "1 to 15"),
            ("quality", "480p", "360p, 540p, 720p, 1080p"),
            ("style", "noir", "anime, 3d_animation, clay, comic, cyberpunk"),
            ("seed", "7", "whole number"),
            ("audio", 1, "True or False"),
            ("motion_mode", "fast", "leave it out"),
            ("model", "v6", "leave it out"),
            ("watermark", False, "leave it out"),
        ],
    }

    def sign(self, body: bytes, at: datetime) -> dict[str, str]:
        return sign(body, at)


FAL = TestFal.provider
KEYS = TestFal.keys


def test_a_full_submit_is_this_request() -> None:
    asked = ExtendRequest(
        prompt="a boat turns", duration=15, quality="1080p", style="clay", seed=7, negative_prompt="rain", audio=False
    )
    assert FAL.build_submit(asked, TestFal.source, reply_url="https://a.example/b?c=d&e", job_id=JOB_ID) == HTTPRequest(
        method="POST",
        url="https://queue.fal.run/fal-ai/pixverse/v6/extend?fal_webhook=https%3A%2F%2Fa.example%2Fb%3Fc%3Dd%26e",
        headers=AUTHORIZED,
        json={
            "video_url": INPUT_URL,
            "prompt": "a boat turns",
            "duration": 15,
            "resolution": "1080p",
            "style": "clay",
            "seed": 7,
            "negative_prompt": "rain",
            "generate_audio_switch": False,
        },
    )


def test_the_reply_url_is_in_the_query_and_nowhere_else() -> None:
    request = TestFal().submit_request()
    assert parse_qs(urlsplit(request.url).query) == {"fal_webhook": [REPLY_URL]}
    assert "hooks.example" not in json.dumps(request.json)
    assert "to-ken" not in repr(request)


def test_status_result_and_cancel_live_under_owner_and_app_alone() -> None:
    base = "https://queue.fal.run/fal-ai/pixverse/requests/r-1"
    assert FAL.build_status("r-1") == HTTPRequest(method="GET", url=f"{base}/status", headers=AUTHORIZED)
    assert FAL.build_result("r-1") == HTTPRequest(method="GET", url=base, headers=AUTHORIZED)
    assert FAL.build_cancel("r-1") == HTTPRequest(method="PUT", url=f"{base}/cancel", headers=AUTHORIZED)


def test_a_file_is_announced_first_and_then_put_where_fal_says() -> None:
    request = FAL.build_upload(TestFal.local_source)
    assert request is not None
    assert request.url == "https://rest.fal.ai/storage/upload/initiate?storage_type=gcs"
    assert request.json == {"file_name": "video.mp4", "content_type": "video/mp4"}
    granted = answer(200, {"upload_url": "https://gcs.example/signed?sig=1", "file_url": INPUT_URL})
    upload = FAL.parse_upload(granted, TestFal.local_source)
    assert upload.source == VideoSource(kind=SourceKind.UPLOAD, text=INPUT_URL)
    assert upload.then == HTTPRequest(
        method="PUT",
        url="https://gcs.example/signed?sig=1",
        headers={"content-type": "video/mp4"},  # and not fal's key: the address is somebody else's
        upload=TestFal.local_source,
    )


def test_a_success_carries_what_fal_says_of_the_file() -> None:
    event = FAL.parse_callback(TestFal.success.callback(NOW))
    assert event.result == Asset(url=INPUT_URL, content_type="video/mp4", bytes=1163040)
    assert (event.provider_job_id, event.aliases, event.job_id) == (REQUEST_ID, (REQUEST_ID,), None)


@pytest.mark.parametrize("size", [None, True, -1, 1.5, "1163040", 2**63, 10**30], ids=str)
def test_a_size_that_is_none_is_left_out(size: object) -> None:
    body = json.dumps({"status": "OK", "payload": {"video": {"url": INPUT_URL, "file_size": size}}}).encode()
    assert FAL.parse_callback(TestFal().callback(body)).result == Asset(url=INPUT_URL)


def test_an_error_is_a_failure_in_fals_words() -> None:
    event = FAL.parse_callback(recorded("fal/error").callback(NOW))
    assert event.status is JobStatus.FAILED
    assert event.error == JobError(code="422", message="Invalid status code: 422: body.prompt: field required")


@pytest.mark.parametrize("user_ids", [("fal-user-2",), ("fal-user-2", "fal-user-3")])
def test_another_fal_customers_signed_callback_is_refused(user_ids: tuple[str, ...]) -> None:
    callback = TestFal().signed()
    with pytest.raises(VerificationError, match="another fal user"):
        Fal(api_key=API_KEY, user_ids=user_ids).verify(callback, keys=KEYS, now=NOW)
    pinned = VerificationKeys(public_keys=KEYS.public_keys, senders=user_ids)
    with pytest.raises(VerificationError, match="another fal user"):
        FAL.verify(callback, keys=pinned, now=NOW)


def test_the_pinned_user_is_let_in_and_named() -> None:
    callback = TestFal().signed()
    Fal(user_ids=("fal-user-2", "fal-user-1")).verify(callback, keys=KEYS, now=NOW)
    assert FAL.sender(callback) == "fal-user-1"


def test_the_pin_and_the_clock_are_checked_before_any_key_is_needed() -> None:
    stale = TestFal().signed(at=NOW - timedelta(hours=1))
    for provider, callback in ((FAL, stale), (Fal(user_ids=("somebody",)), TestFal().signed())):
        with pytest.raises(VerificationError) as caught:
            provider.verify(callback, keys=VerificationKeys(), now=NOW)
        assert not isinstance(caught.value, NoMatchingKey), "that would lead to a fetch"


def test_the_signed_request_id_must_be_the_bodys() -> None:
    body = TestFal.success.body
    foreign = sign(body, NOW, request_id="another-request")
    with pytest.raises(VerificationError, match="request id"):
        FAL.verify(TestFal().callback(body, foreign.items()), keys=KEYS, now=NOW)


def test_the_signed_request_id_may_be_the_gateways() -> None:
    content = {**TestFal.success.content, "gateway_request_id": "gateway-2"}
    body = json.dumps(content).encode()
    headers = sign(body, NOW, request_id="gateway-2")
    FAL.verify(TestFal().callback(body, headers.items()), keys=KEYS, now=NOW)
    event = FAL.parse_callback(TestFal().callback(body))
    assert (event.provider_job_id, event.aliases) == (REQUEST_ID, ("gateway-2",))


def test_what_fal_signed_is_signed_even_when_it_is_no_json_and_its_user_no_ascii() -> None:
    body = b"\xff not json"
    headers = sign(body, NOW, user_id="jürgen-ü")
    FAL.verify(TestFal().callback(body, headers.items()), keys=KEYS, now=NOW)


@pytest.mark.parametrize(
    ("word", "status"),
    [("IN_QUEUE", JobStatus.QUEUED), ("IN_PROGRESS", JobStatus.RUNNING), ("COMPLETED", JobStatus.SUCCEEDED)],
)
def test_a_status_word_is_ours(word: str, status: JobStatus) -> None:
    event = FAL.parse_status(answer(202, {"status": word, "queue_position": 3}), "r-1")
    assert event is not None
    assert (event.status, event.result, event.provider_job_id) == (status, None, "r-1")


def test_a_completed_job_with_an_error_has_failed() -> None:
    said = {"status": "COMPLETED", "error": "Out of memory", "error_type": "runner_error"}
    event = FAL.parse_status(answer(200, said), "r-1")
    assert event is not None
    assert (event.status, event.error) == (JobStatus.FAILED, JobError(code="runner_error", message="Out of memory"))


def test_the_result_is_fetched_apart() -> None:
    assert FAL.parse_result(answer(202, {"status": "IN_PROGRESS"}), "r-1") is None
    event = FAL.parse_result(answer(200, TestFal.success.content["payload"]), "r-1")
    assert event is not None
    assert event.result is not None
    assert (event.status, event.result.url) == (JobStatus.SUCCEEDED, INPUT_URL)


def test_a_result_refused_is_the_jobs_failure_and_a_refused_key_is_not() -> None:
    event = FAL.parse_result(answer(422, {"detail": MISSING_PROMPT}, x_fal_error_type="validation"), "r-1")
    assert event is not None
    assert event.error == JobError(code="validation", message="body.prompt: field required")
    for status, error in ((401, Unauthorized), (403, Unauthorized), (429, RateLimited)):
        with pytest.raises(error):
            FAL.parse_result(answer(status, {"detail": "no"}), "r-1")
