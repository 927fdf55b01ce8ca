"""What every provider must do, as inherited tests: subclass, say what the vendor says, and how it signs."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from replyhook.errors import (
    InvalidRequest,
    NoMatchingKey,
    ProviderUnavailable,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    UnreadableMessage,
    VerificationError,
)
from replyhook.ids import new_id
from replyhook.jobs import Asset, ExtendRequest, JobEvent, JobStatus, Trust, VideoSource
from replyhook.messages import Callback, HTTPRequest, HTTPResponse
from replyhook.providers import Provider, VerificationKeys
from tests.callbacks import Recorded

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
API_KEY = "sk-geheim-0123456789"
JOB_ID = new_id("job", at=NOW.timestamp())
REPLY_URL = "https://hooks.example/callbacks/here/eyJ2IjoxfQ.to-ken_1?x=1&y=ä"
NASTY_ID = "user:1-pixverse:jane+doe@example.com-video:9/../../x?y#z"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KNOWN_NAMES = (
    "detail",
    "error",
    "error_type",
    "errCode",
    "status",
    "progress",
    "request_id",
    "video_id",
    "path",
    "video",
)
BODIES = (
    st.binary(max_size=16)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(KNOWN_NAMES), JSON).map(lambda value: json.dumps(value).encode())
)
FUZZED = settings(max_examples=60, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])
GARBAGE_BODIES = [
    b"", b"null", b"[]", b'"text"', b"1", b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":"\\ud800"}',
    b"1e999", b"9" * 400, b"9" * 5000, b"<html>Bad gateway</html>",
]  # fmt: skip
GARBAGE_HEADERS = [
    "", " ", "=", "0", "-1", "1.5", "v1,", "é", "ÿ" * 64, "٣٤", "0x10", "9" * 12, "9" * 400, "zz" * 64, "a" * 128,
    "\x00", "t=1,v1=é", "1e3", "nan",
]  # fmt: skip
UNKNOWN_WORDS: list[Any] = ["PAUSED", "", " ", "ok ", "ÜBER", None, 7, 1.5, True, [], ["OK"], {}, {"OK": 1}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer to a submit that says no, the error it means, and the provider's words that the caller must see."""

    status: int
    body: Mapping[str, Any]
    error: type[ReplyhookError]
    words: str

    def __str__(self) -> str:
        return f"{self.status}-{self.error.__name__}"


def answer(status: int, content: object = None, **headers: str) -> HTTPResponse:
    """An HTTP answer with ``content`` as JSON, or as it is when it is bytes."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPResponse(status=status, headers={"content-type": "application/json", **named}, body=body)


def nulls(value: object) -> Iterable[object]:
    """Every None anywhere inside ``value``."""
    if value is None:
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nulls(inner)


def changed(value: object) -> st.SearchStrategy[Any]:
    """``value`` with anything at all in some of its places, at any depth."""
    if isinstance(value, dict):
        return JSON | st.fixed_dictionaries({name: st.just(inner) | changed(inner) for name, inner in value.items()})
    return JSON | st.integers(min_value=2**62) if isinstance(value, int) else JSON


class ProviderContract:
    """What a provider must do, signed or not. ``CASES`` holds the runs of tests with a ``refusal`` or ``limit``."""

    provider: Provider
    success: Recorded
    """A callback that brings the video."""
    video_url: str
    """The video it brings."""
    incomplete: Mapping[str, Any]
    """A callback's body that says success and brings no video."""
    status_word: str
    """The body's field that says how the job stands."""
    accepted: HTTPResponse
    """The provider's yes to a submit."""
    accepted_id: str
    """The job id in it."""
    source: VideoSource
    """A source that the submit itself takes."""
    local_source: VideoSource
    """A source that is uploaded first."""
    minimal_fields: frozenset[str]
    """The names in a submit's body when nothing but the prompt is asked for."""
    CASES: ClassVar[dict[str, list[Any]]]

    def callback(self, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Callback:
        name = self.provider.capabilities.name
        return Callback(provider=name, headers=tuple(headers), body=body, received_at=NOW)

    def submit_request(self, **asked: Any) -> HTTPRequest:
        request = self.provider.capabilities.prepare(ExtendRequest(**{"prompt": "a boat turns", **asked}))
        return self.provider.build_submit(request, self.source, reply_url=REPLY_URL, job_id=JOB_ID)

    # What a callback says

    def test_a_success_brings_its_video(self) -> None:
        event = self.provider.parse_callback(self.success.callback(NOW))
        assert event.status is JobStatus.SUCCEEDED
        assert event.result is not None
        assert event.result.url == self.video_url
        assert event.error is None
        assert event.provider_job_id

    def test_the_video_of_a_success_lies_on_a_listed_host(self) -> None:
        assert self.provider.capabilities.allows_host(urlsplit(self.video_url).hostname or "")
        assert not self.provider.capabilities.allows_host("media.pixverse.ai.evil.example")
        assert not self.provider.capabilities.allows_host("evilfal.media")

    def test_a_success_without_a_video_has_no_result(self) -> None:
        event = self.provider.parse_callback(self.callback(json.dumps(self.incomplete).encode()))
        assert (event.status, event.result, event.error) == (JobStatus.SUCCEEDED, None, None)

    def test_the_same_callback_is_the_same_event(self) -> None:
        first = self.provider.parse_callback(self.success.callback(NOW))
        again = structs.replace(
            self.callback(self.success.body, [("x-retry", "2")]), received_at=NOW + timedelta(days=1)
        )
        assert self.provider.parse_callback(again) == first
        other = {**self.success.content, self.status_word: "SOMETHING ELSE"}
        assert self.provider.parse_callback(self.callback(json.dumps(other).encode())) != first

    @pytest.mark.parametrize("word", UNKNOWN_WORDS, ids=repr)
    def test_an_unknown_word_gives_no_status(self, word: object) -> None:
        body = json.dumps({self.status_word: word}).encode()
        for event in (
            self.provider.parse_callback(self.callback(body)),
            self.provider.parse_status(answer(200, body), NASTY_ID),
        ):
            assert event is not None
            assert (event.status, event.result, event.error) == (None, None, None)
            assert event.word == (word or None if isinstance(word, str) else None)

    @pytest.mark.parametrize("body", GARBAGE_BODIES, ids=lambda body: repr(body[:12]))
    def test_what_is_no_json_object_is_unreadable(self, body: bytes) -> None:
        with pytest.raises(UnreadableMessage):
            self.provider.parse_callback(self.callback(body))
        with pytest.raises(UnreadableMessage):
            self.provider.parse_status(answer(200, body), "id")

    @FUZZED
    @given(body=BODIES)
    def test_any_bytes_are_an_event_or_unreadable(self, body: bytes) -> None:
        parses: tuple[Callable[[], JobEvent | None], ...] = (
            lambda: self.provider.parse_callback(self.callback(body)),
            lambda: self.provider.parse_status(answer(200, body), "id"),
            lambda: self.provider.parse_result(answer(200, body), "id"),
        )
        for parse in parses:
            try:
                event = parse()
            except UnreadableMessage:
                continue
            assert event is None or self.is_sound(event)

    @FUZZED
    @given(data=st.data())
    def test_a_body_changed_anywhere_is_an_event_still(self, data: st.DataObject) -> None:
        body = {"error": None, "errCode": None, "progress": None, **self.success.content}
        text = json.dumps(data.draw(changed(body))).encode()
        parses: tuple[Callable[[], JobEvent | None], ...] = (
            lambda: self.provider.parse_callback(self.callback(text)),
            lambda: self.provider.parse_status(answer(200, text), "id"),
        )
        for parse in parses:
            try:
                assert self.is_sound(parse() or JobEvent(provider_job_id=None, status=None))
            except UnreadableMessage:
                assert not text.startswith(b"{")

    def is_sound(self, event: JobEvent) -> bool:
        assert event.progress is None or 0 <= event.progress <= 100
        assert event.result is None or event.status is JobStatus.SUCCEEDED
        assert (event.error is not None) == (event.status is JobStatus.FAILED)
        assert event.provider_job_id is None or type(event.provider_job_id) is str
        assert event.word is None or isinstance(event.word, str)
        assert event.provider_job_id != ""
        assert event.error is None or type(event.error.message) is str
        assert event.error is None or event.error.message
        if event.result is not None:
            assert isinstance(event.result, Asset)
            assert event.result.url
            assert event.result.bytes is None or 0 <= event.result.bytes < 2**63  # as large as a store's number gets
        return True

    # What a submit sends

    def test_what_was_not_asked_for_is_absent(self) -> None:
        request = self.submit_request()
        assert request.json is not None
        assert set(request.json) == self.minimal_fields
        assert not list(nulls(dict(request.json)))

    def test_a_documented_limit_is_named_when_broken(self, limit: tuple[str, Any, str]) -> None:
        field, value, allowed = limit
        asked = {"options": {field: value}} if field in self.option_names() else {field: value}
        with pytest.raises(InvalidRequest) as caught:
            self.submit_request(**asked)
        assert field in caught.value.field
        assert caught.value.value == value
        assert allowed in caught.value.allowed
        for part in (field, repr(value)[:40], allowed, self.provider.capabilities.name):
            assert part in str(caught.value)

    def option_names(self) -> set[str]:
        return {option.wire for option in self.provider.capabilities.options}

    def test_an_unknown_option_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidRequest, match="webhook_url"):
            self.submit_request(options={"webhook_url": "https://elsewhere.example"})

    def test_an_empty_prompt_is_refused_by_name(self) -> None:
        with pytest.raises(InvalidRequest, match="prompt"):
            self.submit_request(prompt="")

    def test_the_api_key_travels_in_the_authorization_header_alone(self) -> None:
        requests = [
            self.submit_request(),
            self.provider.build_status(NASTY_ID),
            self.provider.build_upload(self.local_source),
            self.provider.build_result(NASTY_ID),
            self.provider.build_cancel(NASTY_ID),
        ]
        for request in requests:
            if request is not None:
                assert API_KEY in request.headers["authorization"]
                assert API_KEY not in f"{request.url}{request.json}{request!r}"
                assert urlsplit(request.url).query == "" or urlsplit(request.url).query not in repr(request)
        assert API_KEY not in repr(self.provider)

    def test_a_job_id_stays_one_segment_of_the_path(self) -> None:
        for build in (self.provider.build_status, self.provider.build_result, self.provider.build_cancel):
            request = build(NASTY_ID)
            if request is not None:
                assert f"/{quote(NASTY_ID, safe='')}" in request.url
                assert NASTY_ID in [unquote(segment) for segment in urlsplit(request.url).path.split("/")]

    def test_a_slash_at_the_end_of_the_address_changes_nothing(self) -> None:
        slashed: Any = replace(self.provider, base_url=f"{self.provider.base_url}/")  # type: ignore[type-var, attr-defined] # a field of every provider, not of the protocol
        assert slashed.build_status("id") == self.provider.build_status("id")

    def test_a_source_that_the_submit_takes_is_not_uploaded(self) -> None:
        assert self.source.kind in self.provider.capabilities.takes
        assert self.provider.build_upload(self.source) is None
        assert self.local_source.kind in self.provider.capabilities.uploads
        assert self.provider.build_upload(self.local_source) is not None

    # What a submit is answered

    def test_an_accepted_submit_gives_the_providers_id(self) -> None:
        assert self.provider.parse_submit(self.accepted) == self.accepted_id

    def test_a_refusal_says_what_it_means_in_the_providers_words(self, refusal: Refusal) -> None:
        with pytest.raises(refusal.error) as caught:
            self.provider.parse_submit(answer(refusal.status, refusal.body))
        assert type(caught.value) is refusal.error
        assert refusal.words in str(caught.value)
        assert API_KEY not in str(caught.value)

    def test_too_many_requests_say_when_to_come_again(self) -> None:
        with pytest.raises(SubmissionRefused) as caught:
            self.provider.parse_submit(answer(429, {}, retry_after="17"))
        assert caught.value.retryable
        assert getattr(caught.value, "retry_after", None) == timedelta(seconds=17)

    @pytest.mark.parametrize("status", [408, 500, 502, 504, 520, 599])
    def test_a_server_error_leaves_the_outcome_unknown(self, status: int) -> None:
        for content in ({"detail": "internal", "error": "internal"}, b"<html>", b""):
            with pytest.raises(SubmitOutcomeUnknown):
                self.provider.parse_submit(answer(status, content))

    @pytest.mark.parametrize("body", [*GARBAGE_BODIES, b"{}"], ids=lambda body: repr(body[:12]))
    def test_an_unreadable_yes_leaves_the_outcome_unknown(self, body: bytes) -> None:
        with pytest.raises(SubmitOutcomeUnknown):
            self.provider.parse_submit(answer(200, body))

    @FUZZED
    @given(status=st.integers(200, 599), body=BODIES)
    def test_any_answer_to_a_submit_is_an_id_or_a_typed_error(self, status: int, body: bytes) -> None:
        try:
            assert self.provider.parse_submit(answer(status, body)) != ""
        except (SubmissionRefused, ProviderUnavailable):
            assert not 200 <= status < 300 or b"error" in body  # nothing was started, and somebody said so
        except SubmitOutcomeUnknown:
            assert status >= 500 or status in (408, 409, 425, 499) or status < 400

    # What the other questions are answered

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
    def test_only_a_submit_can_have_an_unknown_outcome(self, status: int) -> None:
        down = answer(status, b"<html>")
        for ask in (
            lambda: self.provider.parse_status(down, "id"),
            lambda: self.provider.parse_result(down, "id"),
            lambda: self.provider.parse_upload(down, self.local_source),
        ):
            with pytest.raises(ProviderUnavailable):
                ask()

    @FUZZED
    @given(status=st.integers(200, 599), body=BODIES)
    def test_any_answer_to_a_question_is_an_event_or_a_typed_error(self, status: int, body: bytes) -> None:
        typed = (SubmissionRefused, ProviderUnavailable, SubmitOutcomeUnknown, UnreadableMessage)
        for parse in (self.provider.parse_status, self.provider.parse_result):
            try:
                event = parse(answer(status, body), NASTY_ID)
            except typed:
                continue
            assert event is None or (self.is_sound(event) and event.provider_job_id == NASTY_ID)
        with contextlib.suppress(*typed):
            self.provider.parse_upload(answer(status, body), self.local_source)

    @pytest.mark.parametrize("body", [*GARBAGE_BODIES, b"{}"], ids=lambda body: repr(body[:12]))
    def test_an_unreadable_answer_to_an_upload_is_no_upload(self, body: bytes) -> None:
        with pytest.raises(UnreadableMessage):
            self.provider.parse_upload(answer(200, body), self.local_source)

    def test_no_news_is_none(self) -> None:
        assert self.provider.parse_status(answer(404, {"detail": "Not found"}), "id") is None

    def test_what_is_shown_of_an_event_holds_nothing_secret_or_personal(self) -> None:
        event = self.provider.parse_callback(self.success.callback(NOW))
        assert self.video_url not in repr(event)
        if self.provider.capabilities.id_is_personal:
            assert (event.provider_job_id or "?") not in repr(event)


class TokenOnlyContract(ProviderContract):
    """A provider that signs nothing: the reply URL's token, checked before, is all the proof there is."""

    @pytest.mark.parametrize("value", GARBAGE_HEADERS, ids=lambda value: repr(value[:12]))
    def test_no_header_makes_it_more_or_less_than_the_token(self, value: str) -> None:
        headers = [("authorization", value), ("x-signature", value), ("x-signature", value)]
        callback = self.callback(self.success.body, headers)
        assert self.provider.verify(callback, keys=VerificationKeys(), now=NOW) is Trust.TOKEN_ONLY
        assert self.provider.sender(callback) is None
        assert not self.provider.capabilities.signed


class SignedContract(ProviderContract):
    """A provider that signs its callbacks."""

    keys: VerificationKeys
    """The right keys."""
    other_keys: VerificationKeys
    """Keys of the right form that signed nothing here."""
    junk_keys: VerificationKeys
    """Keys that are none."""
    tolerance: timedelta | None
    """How far a callback's time may be off; None where the scheme has no time."""

    def sign(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers that the provider would send, made by code that is not the library's."""
        raise NotImplementedError

    def signed(self, changed: Mapping[str, str] | None = None, at: datetime = NOW) -> Callback:
        content = self.success.body
        headers = {**self.sign(content, at), **(changed or {})}
        return self.callback(content, headers.items())

    def refusal_of(self, callback: Callback, keys: VerificationKeys | None = None, now: datetime = NOW) -> str:
        with pytest.raises(VerificationError) as caught:
            self.provider.verify(callback, keys=keys or self.keys, now=now)
        return str(caught.value)

    def test_accepts_its_own_signature(self) -> None:
        assert self.provider.verify(self.signed(), keys=self.keys, now=NOW) is Trust.SIGNED
        assert self.provider.capabilities.signed

    def test_refuses_a_changed_body(self) -> None:
        callback = self.signed()
        for place in range(0, len(callback.body), 7):
            changed = bytearray(callback.body)
            changed[place] ^= 1
            self.refusal_of(structs.replace(callback, body=bytes(changed)))
        self.refusal_of(structs.replace(callback, body=callback.body + b" "))

    def test_refuses_every_other_key(self) -> None:
        for keys in (self.other_keys, self.junk_keys, VerificationKeys()):
            with pytest.raises(NoMatchingKey):
                self.provider.verify(self.signed(), keys=keys, now=NOW)

    def test_any_of_several_keys_will_do(self) -> None:
        rings = (self.junk_keys, self.other_keys, self.keys)
        both = VerificationKeys(
            public_keys=[key for ring in rings for key in ring.public_keys],
            secrets=[secret for ring in rings for secret in ring.secrets],
        )
        assert self.provider.verify(self.signed(), keys=both, now=NOW) is Trust.SIGNED

    def test_every_header_of_the_signature_is_needed(self) -> None:
        callback = self.signed()
        for name, _ in callback.headers:
            self.refusal_of(
                structs.replace(callback, headers=tuple(pair for pair in callback.headers if pair[0] != name))
            )

    def test_refuses_a_header_sent_twice(self) -> None:
        callback = self.signed()
        for pair in callback.headers:
            self.refusal_of(structs.replace(callback, headers=(*callback.headers, pair)))

    @pytest.mark.parametrize("value", GARBAGE_HEADERS, ids=lambda value: repr(value[:12]))
    def test_refuses_garbage_without_another_error(self, value: str) -> None:
        for name in self.sign(self.success.body, NOW):
            self.refusal_of(self.signed({name: value}))

    @FUZZED
    @given(data=st.data())
    def test_whatever_the_headers_only_a_verification_error_comes(self, data: st.DataObject) -> None:
        latin = st.text(st.characters(max_codepoint=255), max_size=140)
        headers = {name: data.draw(latin | st.just(value)) for name, value in self.sign(b"{}", NOW).items()}
        keys = data.draw(st.sampled_from([self.keys, self.other_keys, self.junk_keys]))
        callback = self.callback(b"{ }", headers.items())  # signed was {}, so nothing can be right
        self.refusal_of(callback, keys)

    def test_refuses_a_replay_and_what_is_from_the_future(self) -> None:
        if self.tolerance is None:
            pytest.skip("the scheme has no time")
        for late in (self.tolerance + timedelta(seconds=1), timedelta(days=1), timedelta(days=20_000)):
            self.refusal_of(self.signed(at=NOW - late))
            self.refusal_of(self.signed(at=NOW + late))

    def test_accepts_what_is_a_little_off(self) -> None:
        if self.tolerance is None:
            pytest.skip("the scheme has no time")
        for off in (self.tolerance, self.tolerance / 2, -self.tolerance):
            assert self.provider.verify(self.signed(at=NOW - off), keys=self.keys, now=NOW) is Trust.SIGNED

    def test_a_refusal_tells_a_stranger_nothing(self) -> None:
        right = set(self.sign(self.success.body, NOW).values()) | {API_KEY, *self.keys.secrets}
        changed = structs.replace(self.signed(), body=self.success.body + b" ")
        right |= set(self.sign(changed.body, NOW).values())
        told = [self.refusal_of(changed), self.refusal_of(self.signed(), self.other_keys)]
        told += [self.refusal_of(self.signed(at=NOW - timedelta(days=1)))]
        told += [self.refusal_of(self.signed({name: "zz"})) for name in self.sign(b"", NOW)]
        told += [repr(changed), repr(self.keys)]
        for text in told:
            assert not [value for value in right if value in text]
