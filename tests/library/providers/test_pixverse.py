"""PixVerse registers itself with the contract; what is only PixVerse's follows.

Some of the contract's tests are rewritten here because PixVerse signs a body's fields and not its bytes, has numbers
for words, and takes its key in a header of its own.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from replyhook.errors import (
    BadRequest,
    ConfigurationError,
    InsufficientCredits,
    InvalidRequest,
    Moderated,
    NoMatchingKey,
    ProviderUnavailable,
    RateLimited,
    ReplyhookError,
    SubmitOutcomeUnknown,
    Unauthorized,
    UnreadableMessage,
    VerificationError,
)
from replyhook.jobs import Asset, ExtendRequest, JobError, JobStatus, SourceKind, Trust, VideoSource
from replyhook.messages import Callback, HTTPRequest
from replyhook.providers import VerificationKeys
from replyhook.providers.pixverse import CAPABILITIES, PixVerse
from tests.callbacks import recorded
from tests.contracts.provider_contract import (
    API_KEY,
    BODIES,
    FUZZED,
    JOB_ID,
    JSON,
    NASTY_ID,
    NOW,
    REPLY_URL,
    UNKNOWN_WORDS,
    Refusal,
    SignedContract,
    answer,
    changed,
)
from tests.library.test_query_forms import REAL, SAMPLES

SECRET = "geheimes Wort, ü"
NONCE = "0123456789abcdefABCDEF0123456789"
VIDEO_ID = "343252978602905"
HEADERS = {"api-key": API_KEY}
BASE = "https://app-api.pixverse.ai/openapi/v2"


def sealed(form: str, at: datetime = NOW, *, nonce: str = NONCE, secret: str = SECRET) -> dict[str, str]:
    """PixVerse's three headers over ``form``, as its page describes them."""
    timestamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{form}".encode(), hashlib.sha256).digest()
    return {
        "webhook-timestamp": timestamp,
        "webhook-nonce": nonce,
        "webhook-signature": base64.b64encode(digest).decode(),
    }


def said(status: object, **fields: object) -> dict[str, Any]:
    """A status call's answer, in its envelope."""
    return {"ErrCode": 0, "ErrMsg": "Success", "Resp": {"id": int(VIDEO_ID), "status": status, **fields}}


def refused(code: int, words: str, error: type[ReplyhookError], *, http: int = 200) -> Refusal:
    return Refusal(status=http, body={"ErrCode": code, "ErrMsg": words, "Resp": None}, error=error, words=words)


class TestPixVerse(SignedContract):
    # example.com is the official sample's host, and on no list but this one.
    provider = PixVerse(api_key=API_KEY, webhook_id="1234", media_hosts=("media.pixverse.ai", "example.com"))
    success = recorded("pixverse/success")
    video_url = "https://example.com/video.mp4"
    incomplete = recorded("pixverse/success").content | {"url": ""}
    status_word = "status"
    accepted = answer(200, {"ErrCode": 0, "ErrMsg": "Success", "Resp": {"video_id": int(VIDEO_ID), "credits": 0}})
    accepted_id = VIDEO_ID
    source = VideoSource.provider_job(VIDEO_ID)
    local_source = VideoSource(kind=SourceKind.DATA, data=b"mp4")
    minimal_fields = frozenset({"source_video_id", "prompt", "model", "duration", "quality", "seed", "webhook_id"})
    keys = VerificationKeys(secrets=[SECRET])
    other_keys = VerificationKeys(secrets=["another secret", SECRET.upper()])
    junk_keys = VerificationKeys(secrets=["", " ", "\x00", "\udcff", "x" * 10_000])
    tolerance = timedelta(hours=6)
    CASES: ClassVar[dict[str, list[Any]]] = {
        "refusal": [
            *(refused(code, "bad key", Unauthorized) for code in range(10001, 10006)),
            refused(400011, "Empty parameter", BadRequest),
            refused(400012, "Invalid account", Unauthorized),
            refused(400013, "Invalid binding request", BadRequest),
            refused(400017, "couldn't find a matching source_video_id", BadRequest),
            refused(400018, "Prompt is too long", BadRequest),
            refused(400019, "Negative prompt is too long", BadRequest),
            refused(400032, "Invalid image id", BadRequest),
            refused(400099, "a number of the same family", BadRequest),
            refused(500008, "Not found", BadRequest),
            refused(500020, "No permission", Unauthorized),
            *(refused(c, "the picture", BadRequest) for c in (500030, 500031, 500032, 500033, 500041, 500042)),
            refused(500044, "Concurrent limit reached", RateLimited),
            refused(500054, "Content moderation failed", Moderated),
            refused(500060, "Monthly limit reached", InsufficientCredits),
            refused(500063, "Input moderation failed", Moderated),
            refused(500090, "Insufficient balance", InsufficientCredits),  # NOT CONFIRMED
            refused(99999, "Unknown error", SubmitOutcomeUnknown),
            refused(500999, "a number on no list", SubmitOutcomeUnknown),
            refused(400017, "ErrCode under another status", BadRequest, http=500),
            # Where HTTP itself says no
            Refusal(status=401, body={"ErrMsg": "no key"}, error=Unauthorized, words="no key"),
            Refusal(status=400, body={"ErrCode": "?", "ErrMsg": "odd"}, error=BadRequest, words="odd"),
        ],
        "limit": [
            ("prompt", "x" * 2049, "1 to 2048 characters"),
            ("negative_prompt", "x" * 2049, "1 to 2048 characters"),
            ("model", "v3", "v3.5, v4, v4.5, v5, v5.5, v6"),
            ("duration", 0, "1 to 15"),
            ("duration", 16, "1 to 15"),
            ("duration", 5.0, "1 to 15"),
            ("duration", 6, "only 5, 8 with model='v4.5'"),
            ("duration", 10, "only 5, 8 with model='v4.5'"),
            ("quality", "480p", "360p, 540p, 720p, 1080p"),
            ("seed", -1, "0 to 2147483647"),
            ("seed", 2147483648, "0 to 2147483647"),
            ("seed", True, "0 to 2147483647"),
            ("motion_mode", "slow", "normal, fast"),
            ("style", "day", "anime, 3d_animation, clay, cyberpunk, comic"),
            ("watermark", 1, "True or False"),
            ("audio", True, "leave it out"),
            ("template_id", "7", "whole number"),
            ("generate_audio_switch", "on", "True or False"),
        ],
    }

    def sign(self, body: bytes, at: datetime) -> dict[str, str]:
        return sealed(SAMPLES["go"](json.loads(body)), at)

    # What the contract asks in another way of providers that sign bytes, have words, and take bearer tokens

    def test_refuses_a_changed_body(self) -> None:
        callback = self.signed()
        for place in range(len(callback.body)):
            flipped = bytearray(callback.body)
            flipped[place] ^= 1
            self.refusal_of(structs.replace(callback, body=bytes(flipped)))
        for altered in (callback.body + b"x", callback.body + callback.body, callback.body.replace(b"}", b',"a":1}')):
            self.refusal_of(structs.replace(callback, body=altered))

    def test_the_fields_are_signed_and_not_the_bytes(self) -> None:
        callback = self.signed()
        spaced = json.dumps(json.loads(callback.body), indent=2).encode() + b"\n"
        turned = json.dumps(dict(reversed(json.loads(callback.body).items()))).encode()  # signed in sorted order
        for body in (spaced, turned):
            assert self.provider.verify(structs.replace(callback, body=body), keys=self.keys, now=NOW) is Trust.SIGNED

    def test_a_refusal_tells_a_stranger_nothing(self) -> None:
        right = {*self.sign(self.success.body, NOW).values(), API_KEY, SECRET}
        altered = structs.replace(self.signed(), body=self.success.body.replace(b"1", b"2"))
        right |= {*self.sign(altered.body, NOW).values()}
        told = [self.refusal_of(altered), self.refusal_of(self.signed(), self.other_keys)]
        told += [self.refusal_of(self.signed(at=NOW - timedelta(days=1)))]
        told += [self.refusal_of(self.signed({name: "zz"})) for name in self.sign(b"{}", NOW)]
        told += [repr(altered), repr(self.keys), repr(PixVerse(webhook_secrets=(SECRET,), accounts={"a": (SECRET,)}))]
        for text in told:
            assert not [value for value in right if value in text]

    @pytest.mark.parametrize("word", [*(word for word in UNKNOWN_WORDS if word != 7), 0, 4, 6, 9, 11, -1, 2**64, "6"])
    def test_an_unknown_word_gives_no_status(self, word: object) -> None:
        shown = str(word) if isinstance(word, str | int) and not isinstance(word, bool) else None
        events = [
            self.provider.parse_callback(self.callback(json.dumps({"status": word}).encode())),
            self.provider.parse_status(answer(200, said(word)), NASTY_ID),
        ]
        for event in events:
            assert event is not None
            assert (event.status, event.result, event.error) == (None, None, None)
            assert event.word == (None if word in (-1, 2**64) else shown or None)

    def test_the_api_key_travels_in_the_authorization_header_alone(self) -> None:
        requests = [
            self.submit_request(),
            self.provider.build_status(NASTY_ID),
            self.provider.build_upload(self.local_source),
            self.provider.build_upload(VideoSource(kind=SourceKind.URL, text="https://a.example/in.mp4")),
        ]
        for request in requests:
            assert request is not None
            assert request.headers == HEADERS
            assert request.fresh_id_header == "ai-trace-id"
            assert API_KEY not in f"{request.url}{request.json}{request.form}{request!r}"
        assert API_KEY not in repr(self.provider)


PIXVERSE = TestPixVerse.provider
KEYS = TestPixVerse.keys


def callback(body: bytes | str, headers: dict[str, str] | Sequence[tuple[str, str]]) -> Callback:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return TestPixVerse().callback(body.encode() if isinstance(body, str) else body, pairs)


# What a submit sends


def test_a_full_submit_is_this_request() -> None:
    asked = CAPABILITIES.prepare(
        ExtendRequest(
            prompt="a boat turns",
            duration=5,
            quality="720p",
            style="clay",
            seed=0,
            negative_prompt="rain",
            motion_mode="fast",
            model="v4",
            watermark=False,
            options={"template_id": 302325299692608, "generate_audio_switch": True},
        )
    )
    assert PIXVERSE.build_submit(asked, TestPixVerse.source, reply_url=REPLY_URL, job_id=JOB_ID) == HTTPRequest(
        method="POST",
        url=f"{BASE}/video/extend/generate",
        headers=HEADERS,
        fresh_id_header="ai-trace-id",
        json={
            "source_video_id": 343252978602905,
            "prompt": "a boat turns",
            "model": "v4",
            "duration": 5,
            "quality": "720p",
            "seed": 0,
            "motion_mode": "fast",
            "style": "clay",
            "negative_prompt": "rain",
            "water_mark": False,
            "template_id": 302325299692608,
            "generate_audio_switch": True,
            "webhook_id": "1234",
        },
    )


def test_what_some_copies_of_the_documentation_require_is_filled_in_from_the_official_sample() -> None:
    assert TestPixVerse().submit_request().json == {
        "source_video_id": 343252978602905,
        "prompt": "a boat turns",
        "model": "v4.5",
        "duration": 5,
        "quality": "540p",
        "seed": 123123,
        "webhook_id": "1234",
    }


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        *(({"model": model, "duration": 7}, "duration", "5, 8") for model in ("v3.5", "v4", "v4.5", "v5")),
        ({"model": "v5", "duration": 10}, "duration", "only 5, 8 with model='v5'"),
        ({"model": "v5.5", "duration": 9}, "duration", "only 5, 8, 10 with model='v5.5'"),
        ({"model": "v6", "duration": 16}, "duration", "1 to 15"),
        ({"quality": "1080p", "duration": 8}, "duration", "with quality='1080p'"),
        ({"motion_mode": "fast", "duration": 8}, "duration", "only 5 with motion_mode='fast'"),
        ({"motion_mode": "fast", "quality": "1080p"}, "quality", "360p, 540p, 720p with motion_mode='fast'"),
        *(
            ({"motion_mode": mode, "model": model}, "model", f"only v3.5, v4, v4.5 with motion_mode='{mode}'")
            for mode in ("normal", "fast")
            for model in ("v5", "v5.5", "v6")
        ),
    ],
    ids=str,
)
def test_a_limit_in_company_is_named_when_broken(asked: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        TestPixVerse().submit_request(**asked)
    assert (caught.value.field, caught.value.value) == (field, asked[field])
    assert allowed in caught.value.allowed
    assert f"{field}={asked[field]!r} is not possible for pixverse" in str(caught.value)


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "v5.5", "duration": 10},
        {"model": "v6", "duration": 1},
        {"model": "v6", "duration": 15, "quality": "720p"},
        {"model": "v5", "duration": 8},
        {"quality": "1080p", "motion_mode": "normal"},
        {"motion_mode": "fast", "quality": "720p"},
        {"seed": 2147483647, "prompt": "x" * 2048},
    ],
    ids=str,
)
def test_what_is_within_the_limits_is_sent_as_asked(asked: dict[str, Any]) -> None:
    request = TestPixVerse().submit_request(**asked)
    assert asked.items() <= dict(request.json or {}).items()


@pytest.mark.parametrize("kind", [SourceKind.PROVIDER_JOB, SourceKind.UPLOAD])
@pytest.mark.parametrize(
    "text", ["abc", "12a", "0", "007", "-1", "1.5", "1e3", " 1", "1\n", "٣", "9" * 20, "1" * 5000, "", NASTY_ID]
)
def test_an_id_that_is_no_number_is_refused_by_name(kind: SourceKind, text: str) -> None:
    request = CAPABILITIES.prepare(ExtendRequest(prompt="a boat turns"))
    with pytest.raises(InvalidRequest, match="digits") as caught:
        PIXVERSE.build_submit(request, VideoSource(kind=kind, text=text), reply_url=REPLY_URL, job_id=JOB_ID)
    assert (caught.value.field, caught.value.value, caught.value.provider) == ("video", text, "pixverse")


@pytest.mark.parametrize("video_id", ["1", VIDEO_ID, "9007199254740993", "9223372036854775807"])
def test_an_id_is_a_whole_number_on_the_wire_and_a_text_here(video_id: str) -> None:
    request = CAPABILITIES.prepare(ExtendRequest(prompt="a boat turns"))
    media = VideoSource(kind=SourceKind.UPLOAD, text=video_id)
    sent = PIXVERSE.build_submit(request, media, reply_url=REPLY_URL, job_id=JOB_ID).json
    assert sent is not None
    assert "source_video_id" not in sent
    assert f'"video_media_id": {video_id},' in json.dumps(sent)
    body = f'{{"ErrCode":0,"ErrMsg":"Success","Resp":{{"video_id":{video_id}}}}}'.encode()
    assert PIXVERSE.parse_submit(answer(200, body)) == video_id
    for content in (f'{{"id":{video_id},"status":5}}', f'{{"id":"{video_id}","status":5}}'):
        assert PIXVERSE.parse_callback(callback(content, {})).provider_job_id == video_id


def test_without_a_webhook_nothing_is_submitted_or_uploaded_and_the_way_to_one_is_told() -> None:
    request = CAPABILITIES.prepare(ExtendRequest(prompt="a boat turns"))
    provider = PixVerse(api_key=API_KEY)
    with pytest.raises(ConfigurationError) as caught:
        provider.build_submit(request, TestPixVerse.source, reply_url=REPLY_URL, job_id=JOB_ID)
    for part in ("webhook_id", "https://platform.pixverse.ai/webhook", "replyhook providers url pixverse"):
        assert part in str(caught.value)
    with pytest.raises(ConfigurationError, match="webhook_id"):
        provider.build_upload(TestPixVerse.local_source)
    assert provider.build_upload(TestPixVerse.source) is None
    provider.build_status(VIDEO_ID)


def test_chinas_host_is_a_setting() -> None:
    china = replace(PIXVERSE, base_url="https://app-api.pixverseai.cn/openapi/v2")
    assert china.build_status("7").url == "https://app-api.pixverseai.cn/openapi/v2/video/result/7"


# What a submit is answered


@pytest.mark.parametrize("video_id", [0, -1, None, True, 1.5, 3.4e14, "", [], {}, {"id": 1}, 2**63], ids=repr)
def test_a_yes_without_an_id_leaves_the_outcome_unknown(video_id: object) -> None:
    for resp in ({"video_id": video_id}, {"videoId": 1}, [], None, video_id):
        with pytest.raises(SubmitOutcomeUnknown):
            PIXVERSE.parse_submit(answer(200, {"ErrCode": 0, "ErrMsg": "Success", "Resp": resp}))


@pytest.mark.parametrize("code", [99999, -1, "x", None, 1.5, True, [], 10**30], ids=repr)
def test_a_no_that_cannot_be_read_leaves_a_submit_open_and_nothing_else(code: object) -> None:
    content = {"ErrCode": code, "ErrMsg": "hm", "Resp": {"video_id": 1, "media_id": 1, "status": 8}}
    with pytest.raises(SubmitOutcomeUnknown, match="hm"):
        PIXVERSE.parse_submit(answer(200, content))
    with pytest.raises(ProviderUnavailable, match="hm"):
        PIXVERSE.parse_status(answer(200, content), VIDEO_ID)
    with pytest.raises(ProviderUnavailable, match="hm"):
        PIXVERSE.parse_upload(answer(200, content), TestPixVerse.local_source)


def test_a_refusal_has_pixverses_code_and_words() -> None:
    content = {"ErrCode": 500044, "ErrMsg": "Concurrent limit reached", "Resp": None}
    asks = (
        lambda response: PIXVERSE.parse_submit(response),
        lambda response: PIXVERSE.parse_status(response, VIDEO_ID),
        lambda response: PIXVERSE.parse_upload(response, TestPixVerse.local_source),
    )
    for ask in asks:
        with pytest.raises(RateLimited, match=r"Concurrent limit reached \(ErrCode 500044\)") as caught:
            ask(answer(200, content, retry_after="9"))
        assert (caught.value.code, caught.value.status) == ("500044", 200)
        assert caught.value.retry_after == timedelta(seconds=9)
    with pytest.raises(Moderated, match="ErrCode 500063") as wordless:
        PIXVERSE.parse_submit(answer(200, {"ErrCode": 500063}))
    assert wordless.value.code == "500063"


# The upload


def test_an_url_is_uploaded_by_name_and_bytes_as_a_part() -> None:
    url = VideoSource(kind=SourceKind.URL, text="https://a.example/in.mp4?x=1")
    common: dict[str, Any] = {
        "method": "POST",
        "url": f"{BASE}/media/upload",
        "headers": HEADERS,
        "fresh_id_header": "ai-trace-id",
        "max_upload_bytes": 50 * 1024 * 1024,
    }
    assert PIXVERSE.build_upload(url) == HTTPRequest(**common, form={"file_url": url.text})
    for source in (TestPixVerse.local_source, VideoSource(kind=SourceKind.FILE, text="in.mp4")):
        assert PIXVERSE.build_upload(source) == HTTPRequest(**common, form={}, upload_field="file", upload=source)


def test_an_upload_is_known_by_its_media_id() -> None:
    resp = {"media_id": 9007199254740993, "media_type": "video", "url": "https://media.pixverse.ai/111111.mp4"}
    upload = PIXVERSE.parse_upload(answer(200, {"ErrCode": 0, "ErrMsg": "success", "Resp": resp}), VideoSource.of(b"1"))
    assert upload.source == VideoSource(kind=SourceKind.UPLOAD, text="9007199254740993")
    assert upload.then is None
    unusable: list[Any] = [{}, {"media_id": 0}, {"media_id": 1.5}, [], None]
    for broken in unusable:
        with pytest.raises(UnreadableMessage, match="media_id"):
            PIXVERSE.parse_upload(answer(200, {"ErrCode": 0, "Resp": broken}), TestPixVerse.local_source)


# How a job stands

STANDS = [
    (1, JobStatus.SUCCEEDED),
    (2, JobStatus.QUEUED),
    (3, JobStatus.RUNNING),
    (5, JobStatus.RUNNING),
    (7, JobStatus.FAILED),
    (8, JobStatus.FAILED),
    (10, JobStatus.RUNNING),
]


@pytest.mark.parametrize(("number", "status"), STANDS)
def test_a_number_is_the_same_word_of_ours_in_a_callback_and_an_answer(number: int, status: JobStatus) -> None:
    fields: dict[str, Any] = {"url": "https://media.pixverse.ai/v.mp4", "size": 3, "credits": 9}
    told = PIXVERSE.parse_callback(callback(json.dumps({"id": VIDEO_ID, "status": number, **fields}), {}))
    asked = PIXVERSE.parse_status(answer(200, said(number, **fields)), VIDEO_ID)
    assert told == asked
    assert (told.status, told.word, told.provider_job_id) == (status, str(number), VIDEO_ID)
    assert told.result == (Asset(url=fields["url"]) if number == 1 else None)
    assert (told.error is not None) == (number in (7, 8))


def test_moderation_and_failure_are_told_apart() -> None:
    moderated = PIXVERSE.parse_callback(recorded("pixverse/moderated").callback(NOW))
    failed = PIXVERSE.parse_callback(recorded("pixverse/failed").callback(NOW))
    assert moderated.error == JobError(code="7", message="refused by PixVerse's moderation")
    assert failed.error == JobError(code="8", message="failed at PixVerse")
    assert moderated.status is failed.status is JobStatus.FAILED


def test_both_official_samples_bring_the_video_and_no_size() -> None:
    for name in ("success", "success_with_size"):
        event = PIXVERSE.parse_callback(recorded(f"pixverse/{name}").callback(NOW))
        assert event.result == Asset(url="https://example.com/video.mp4")
        assert event.provider_job_id == "123456789"


@pytest.mark.parametrize("url", ["", None, "video.mp4", "file:///etc/passwd", "ftp://a/b", 7, [], "https://"], ids=repr)
def test_a_success_whose_link_is_none_is_not_yet_a_success(url: object) -> None:
    event = PIXVERSE.parse_status(answer(200, said(1, url=url)), VIDEO_ID)
    assert event is not None
    assert (event.status, event.result) == (JobStatus.SUCCEEDED, None)


@pytest.mark.parametrize("resp", [None, [], "1", 1], ids=repr)
def test_what_stands_beside_the_envelope_is_not_read(resp: object) -> None:
    content = {"ErrCode": 0, "Resp": resp, "video_id": 1, "status": 8}
    event = PIXVERSE.parse_status(answer(200, content), VIDEO_ID)
    assert event is not None
    assert (event.status, event.word) == (None, None)
    with pytest.raises(SubmitOutcomeUnknown):
        PIXVERSE.parse_submit(answer(200, content))


def test_a_video_pixverse_does_not_know_is_no_news() -> None:
    assert PIXVERSE.parse_status(answer(200, {"ErrCode": 500008, "ErrMsg": "Not found"}), VIDEO_ID) is None
    with pytest.raises(BadRequest):
        PIXVERSE.parse_status(answer(200, {"ErrCode": 400017, "ErrMsg": "Invalid parameter"}), VIDEO_ID)


@FUZZED
@given(content=changed(said(1, url="https://media.pixverse.ai/v.mp4", size=7)) | JSON)
def test_an_answer_changed_anywhere_is_an_event_or_a_typed_error(content: object) -> None:
    try:
        event = PIXVERSE.parse_status(answer(200, content), VIDEO_ID)
    except ReplyhookError:
        return
    assert event is None or (TestPixVerse().is_sound(event) and event.provider_job_id == VIDEO_ID)


# Signatures


@pytest.mark.parametrize(("body", "real", "refused"), REAL, ids=[body for body, _, _ in REAL])
def test_each_official_samples_signature_is_taken_or_knowingly_not(
    body: str, real: dict[str, str], refused: str
) -> None:
    """``refused`` names the samples whose number text is neither the body's nor Python's: those are left out."""
    for sample in SAMPLES:
        signed = callback(body, sealed(real[sample]))
        if sample in refused.split():
            with pytest.raises(NoMatchingKey):
                PIXVERSE.verify(signed, keys=KEYS, now=NOW)
        else:
            assert PIXVERSE.verify(signed, keys=KEYS, now=NOW) is Trust.SIGNED


@pytest.mark.parametrize("sample", SAMPLES)
def test_both_official_bodies_are_taken_as_every_sample_signs_them(sample: str) -> None:
    for name in ("success", "success_with_size"):
        body = recorded(f"pixverse/{name}").body
        signed = callback(body, sealed(SAMPLES[sample](json.loads(body))))
        assert PIXVERSE.verify(signed, keys=KEYS, now=NOW) is Trust.SIGNED


@pytest.mark.parametrize(
    ("signed", "sent"),
    [
        ('{"id":"1","credits":100}', '{"id":"1","credits":1000}'),
        ('{"id":"1","credits":100}', '{"id":"1","credits":100.0}'),
        ('{"id":"1","credits":100}', '{"id":"1","credits":1e2}'),
        ('{"id":"1","size":10.5}', '{"id":"1","size":10.51}'),
        ('{"id":"1","size":10.5}', '{"id":"1","size":105e-2}'),
        ('{"id":9007199254740992}', '{"id":9007199254740993}'),
        ('{"id":"1","status":8}', '{"id":"1","status":1}'),
    ],
)
def test_a_signature_over_other_numbers_than_the_text_is_refused(signed: str, sent: str) -> None:
    for write in SAMPLES.values():
        with pytest.raises(VerificationError):
            PIXVERSE.verify(callback(sent, sealed(write(json.loads(signed)))), keys=KEYS, now=NOW)


def test_a_number_with_a_point_may_be_another_text_of_the_same_double_as_python_writes_it() -> None:
    """Taken with the Python sample, and harmless: nothing here reads a number with a point."""
    headers = sealed("id=1&size=10.5")
    for body in ('{"id":"1","size":10.50}', '{"id":"1","size":1.05e1}', '{"id":"1","size":10.50000000000000001}'):
        assert PIXVERSE.verify(callback(body, headers), keys=KEYS, now=NOW) is Trust.SIGNED
    event = PIXVERSE.parse_callback(callback('{"id":1.0,"status":1.0}', {}))
    assert (event.provider_job_id, event.status) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        '{"id":"1","id":"1"}',
        '{"id":"1","a":{}}',
        '{"id":"1","a":[1]}',
        '{"id":"1","a":NaN}',
        '{"id":"1","a":1e999}',
        '["id"]',
        "{}",
        "",
    ],
)
def test_what_has_no_signed_form_is_refused_whatever_it_was_signed_as(body: str) -> None:
    for form in ("id=1", "id=1&id=1", "id=1&a=%7B%7D", "id=1&a=NaN", "id=1&a=inf", body):
        with pytest.raises(VerificationError) as caught:
            PIXVERSE.verify(callback(body, sealed(form)), keys=KEYS, now=NOW)
        assert type(caught.value) is VerificationError


@pytest.mark.parametrize("nonce", ["a" * 31, "a" * 33, "a" * 31 + "-", "a" * 31 + "\n", "ä" * 32, "", "a" * 100_000])
def test_a_nonce_that_is_not_32_letters_and_digits_is_refused(nonce: str) -> None:
    with pytest.raises(VerificationError) as caught:
        PIXVERSE.verify(callback('{"id":"1"}', sealed("id=1", nonce=nonce)), keys=KEYS, now=NOW)
    assert type(caught.value) is VerificationError


def test_a_signature_has_one_spelling() -> None:
    headers = sealed("id=1")
    right = headers["webhook-signature"]
    for spelling in (
        f"{right[:20]} {right[20:]}",
        f"{right}\n",
        right.rstrip("="),
        f"{right}=",
        f"v1,{right}",
        right[:42] + "é=",
    ):
        with pytest.raises(VerificationError, match="malformed"):
            PIXVERSE.verify(callback('{"id":"1"}', headers | {"webhook-signature": spelling}), keys=KEYS, now=NOW)
    hexadecimal = base64.b64decode(right).hex()
    with pytest.raises(VerificationError):
        PIXVERSE.verify(callback('{"id":"1"}', headers | {"webhook-signature": hexadecimal}), keys=KEYS, now=NOW)


def test_a_signature_of_standard_webhooks_is_none() -> None:
    headers = sealed("id=1")
    signed = f"msg_1.{headers['webhook-timestamp']}." + '{"id":"1"}'
    mac = base64.b64encode(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()).decode()
    for value in (mac, f"v1,{mac}"):
        with pytest.raises(VerificationError):
            PIXVERSE.verify(callback('{"id":"1"}', headers | {"webhook-signature": value}), keys=KEYS, now=NOW)


def test_the_clock_is_looked_at_before_the_body() -> None:
    with pytest.raises(VerificationError, match="too old"):
        PIXVERSE.verify(callback("no JSON", sealed("", NOW - timedelta(days=1))), keys=KEYS, now=NOW)


def test_the_last_retry_is_in_time_even_with_the_first_ones_time() -> None:
    ladder = timedelta(seconds=2 + 10 + 30 + 60 + 300 + 900 + 3600 + 14400)
    assert PIXVERSE.verify(callback('{"id":"1"}', sealed("id=1", NOW - ladder)), keys=KEYS, now=NOW) is Trust.SIGNED
    strict = replace(PIXVERSE, tolerance_seconds=300)
    with pytest.raises(VerificationError, match="too old"):
        strict.verify(callback('{"id":"1"}', sealed("id=1", NOW - ladder)), keys=KEYS, now=NOW)


@FUZZED
@given(body=BODIES | st.text().map(lambda text: text.encode()), data=st.data())
def test_whatever_the_body_and_headers_only_a_verification_error_comes(body: bytes, data: st.DataObject) -> None:
    latin = st.text(st.characters(max_codepoint=255), max_size=64)
    headers = {name: data.draw(st.just(value) | latin) for name, value in sealed("never=signed").items()}
    with pytest.raises(VerificationError):
        PIXVERSE.verify(callback(body, headers), keys=KEYS, now=NOW)


@FUZZED
@given(pairs=st.lists(st.tuples(st.sampled_from([*sealed(""), "ai-trace-id"]), st.text(max_size=40)), max_size=6))
def test_any_headers_at_all_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(VerificationError):
        PIXVERSE.verify(callback('{"id":"1"}', pairs), keys=KEYS, now=NOW)


def test_the_nonce_is_what_makes_a_signature_good_once() -> None:
    signed = TestPixVerse().signed()
    assert PIXVERSE.nonce(signed) == f"{NONCE} {signed.header('webhook-signature')}"
    assert PIXVERSE.nonce(structs.replace(signed, body=signed.body + b" ")) == PIXVERSE.nonce(signed)
    assert PIXVERSE.nonce(callback("{}", {})) is None
    assert PIXVERSE.sender(TestPixVerse().signed()) is None


# Accounts


def test_each_account_has_its_own_secrets() -> None:
    provider = PixVerse(account="eu", webhook_secrets=("new", "old"), accounts={"us": ("us-1",), "eu": ("older",)})
    assert tuple(provider.callback_secrets("eu")) == ("new", "old", "older")
    assert tuple(provider.callback_secrets("us")) == ("us-1",)
    assert provider.account == "eu"


def test_an_account_without_a_secret_lets_nobody_in() -> None:
    for provider, account in (
        (PixVerse(), "default"),
        (PixVerse(webhook_secrets=("s",)), "us"),
        (PixVerse(webhook_secrets=("s",)), ""),
        (PixVerse(webhook_secrets=("s",), account="eu"), "default"),
        (PixVerse(webhook_secrets=("s",), accounts={"us": ()}), "us"),
    ):
        with pytest.raises(VerificationError, match="no webhook secret"):
            provider.callback_secrets(account)


def test_another_accounts_signature_is_refused() -> None:
    provider = PixVerse(webhook_secrets=("eu-secret",), accounts={"us": ("us-secret",)})
    signed = callback('{"id":"1"}', sealed("id=1", secret="us-secret"))
    provider.verify(signed, keys=VerificationKeys(secrets=provider.callback_secrets("us")), now=NOW)
    with pytest.raises(NoMatchingKey):
        provider.verify(signed, keys=VerificationKeys(secrets=provider.callback_secrets("default")), now=NOW)


@pytest.mark.parametrize("secret", ["", " ", "geheim\n", " geheim", "\tgeheim"])
def test_a_secret_that_cannot_be_one_is_refused_at_once(secret: str) -> None:
    for settings in ({"webhook_secrets": ("good", secret)}, {"accounts": {"us": (secret,)}}):
        with pytest.raises(ConfigurationError, match="webhook secret") as caught:
            PixVerse(**settings)
        assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, 10**9, 10**30])
def test_a_tolerance_that_cannot_be_one_is_refused_at_once(seconds: int) -> None:
    with pytest.raises(ConfigurationError, match="tolerance_seconds"):
        PixVerse(tolerance_seconds=seconds)
