"""Signatures: the published vectors, another implementation as an oracle, and every way a header can be wrong."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from standardwebhooks import Webhook

from replyhook.errors import ConfigurationError, NoMatchingKey, VerificationError
from replyhook.signatures import (
    TOLERANCE,
    check_time,
    parse_unix_seconds,
    sign_standard_webhooks,
    standard_webhooks_key,
    verify_ed25519,
    verify_standard_webhooks,
)

VECTORS = [  # PROVIDERS §7.1
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        1731705121,
        b'{"event_type":"ping","data":{"success":true}}',
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
]
SECRET, MESSAGE_ID, SECONDS, BODY, SIGNATURE = VECTORS[0]
SENT_AT = datetime.fromtimestamp(SECONDS, UTC)
SECRETS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
MESSAGE_IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
BODIES = st.dictionaries(st.text(), st.text() | st.integers(), max_size=4).map(json.dumps)


def check(
    secrets: list[str],
    *,
    message_id: str | None = MESSAGE_ID,
    timestamp: str | None = str(SECONDS),
    signature: str | None = SIGNATURE,
    body: bytes = BODY,
    now: datetime = SENT_AT,
) -> None:
    verify_standard_webhooks(
        secrets, message_id=message_id, timestamp=timestamp, signature=signature, body=body, now=now
    )


@pytest.mark.parametrize(("secret", "message_id", "seconds", "body", "signature"), VECTORS)
def test_the_published_vectors_hold(secret: str, message_id: str, seconds: int, body: bytes, signature: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert sign_standard_webhooks([secret], message_id=message_id, sent_at=at, body=body) == signature
    check([secret], message_id=message_id, timestamp=str(seconds), signature=signature, body=body, now=at)


@given(secret=SECRETS, message_id=MESSAGE_IDS, body=BODIES)
def test_another_implementation_accepts_what_we_sign(secret: str, message_id: str, body: str) -> None:
    now = datetime.now(UTC)  # the other one reads the clock
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign_standard_webhooks([secret], message_id=message_id, sent_at=now, body=body.encode()),
    }
    assert Webhook(secret).verify(body, headers) == json.loads(body)


@given(secret=SECRETS, message_id=MESSAGE_IDS, body=BODIES, seconds=st.integers(0, 4_000_000_000))
def test_we_accept_what_another_implementation_signs(secret: str, message_id: str, body: str, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    signature = Webhook(secret).sign(message_id, at, body)
    check([secret], message_id=message_id, timestamp=str(seconds), signature=signature, body=body.encode(), now=at)
    with pytest.raises(VerificationError):
        check([secret], message_id=message_id, timestamp=str(seconds), signature=signature, body=BODY + b"!", now=at)
    with pytest.raises(VerificationError):
        check([secret], message_id=message_id + "x", timestamp=str(seconds), signature=signature, now=at)


def test_during_a_rotation_either_secret_will_do() -> None:
    old, new = VECTORS[0][0], VECTORS[1][0]
    both = sign_standard_webhooks([new, old], message_id=MESSAGE_ID, sent_at=SENT_AT, body=BODY)
    assert both.count("v1,") == 2
    for held in ([old], [new], [old, new]):
        check(held, signature=both)
    alone = sign_standard_webhooks([old], message_id=MESSAGE_ID, sent_at=SENT_AT, body=BODY)
    check([new, old], signature=alone)
    with pytest.raises(VerificationError):
        check([new], signature=alone)


def test_no_secret_accepts_nothing() -> None:
    with pytest.raises(VerificationError):
        check([])


@pytest.mark.parametrize("off", [TOLERANCE, -TOLERANCE, timedelta(0)])
def test_accepts_what_is_a_little_off(off: timedelta) -> None:
    check([SECRET], now=SENT_AT + off)


@pytest.mark.parametrize("off", [TOLERANCE, timedelta(days=1), timedelta(days=10_000)])
def test_refuses_a_replay_and_what_is_from_the_future(off: timedelta) -> None:
    for now in (SENT_AT + off + timedelta(seconds=1), SENT_AT - off - timedelta(seconds=1)):
        with pytest.raises(VerificationError, match="old or from the future"):
            check([SECRET], now=now)


MALFORMED = [
    None, "", " ", ",", "v1", "v1,", "v1,é", "v1a,AAAA", "v2," + SIGNATURE[3:], SIGNATURE[3:], SIGNATURE[:-1],
    SIGNATURE.lower(), SIGNATURE.replace(",", ", "), "v1,====", "v1,!!!!", "v1," + "9" * 400, "٣", "\x00", "a b c",
    " ".join(["v1,AAAA"] * 10_000), "9" * 400, "-1", "1e9", "1614265330.0", " 1614265330", "1614265331", "9" * 12,
]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", ["message_id", "timestamp", "signature"])
def test_a_malformed_header_is_a_verification_error_and_shows_nothing(name: str, value: str | None) -> None:
    with pytest.raises(VerificationError) as caught:
        check([SECRET], **{name: value})  # type: ignore[arg-type] # each of the three is a text
    assert SIGNATURE[3:] not in str(caught.value)
    assert SECRET[6:] not in str(caught.value)


@given(message_id=st.none() | st.text(), timestamp=st.none() | st.text(), signature=st.none() | st.text())
def test_any_headers_are_a_verification_error(
    message_id: str | None, timestamp: str | None, signature: str | None
) -> None:
    with pytest.raises(VerificationError):
        check([SECRET], message_id=message_id, timestamp=timestamp, signature=signature)
    with pytest.raises(VerificationError):
        check([SECRET], signature=f"v1,{signature}")


def test_the_right_signature_among_wrong_ones_is_found_and_a_flood_of_them_is_not_searched() -> None:
    check([SECRET], signature=f"v1a,xx v1,AAAA {SIGNATURE} v1,é".replace(" v1,é", ""))
    with pytest.raises(VerificationError):
        check([SECRET], signature=" ".join(["v1,AAAA"] * 1000 + [SIGNATURE]))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_AAAA", "whsec_" + "A" * 400, "whsec_not base64!"])
def test_a_secret_that_is_none_is_our_own_mistake(secret: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        standard_webhooks_key(secret)
    assert not secret or secret not in str(caught.value) or secret == "whsec_"


@given(text=st.text())
def test_any_text_is_a_time_or_a_verification_error(text: str) -> None:
    try:
        assert parse_unix_seconds(text, what="t") == datetime.fromtimestamp(int(text), UTC)
    except VerificationError:
        assert not (text.isascii() and text.isdecimal() and len(text) < 11)


def test_the_clock_may_be_off_by_the_tolerance_and_no_more() -> None:
    check_time(SENT_AT, now=SENT_AT + timedelta(seconds=9), tolerance=timedelta(seconds=9))
    with pytest.raises(VerificationError):
        check_time(SENT_AT, now=SENT_AT + timedelta(seconds=10), tolerance=timedelta(seconds=9))


RFC_8032 = (  # test 3 of section 7.1
    bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
    bytes.fromhex("af82"),
    bytes.fromhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    ),
)


def test_ed25519_agrees_with_rfc_8032() -> None:
    key, message, signature = RFC_8032
    verify_ed25519([key], signature=signature, message=message)
    with pytest.raises(NoMatchingKey):
        verify_ed25519([key], signature=signature, message=message + b"\x00")


def test_ed25519_tries_every_key_and_stumbles_over_none() -> None:
    key, message, signature = RFC_8032
    others = [b"", b"short", b"\x00" * 32, b"\xff" * 32, b"x" * 33, bytes(SigningKey.generate().verify_key)]
    verify_ed25519([*others, key], signature=signature, message=message)
    with pytest.raises(NoMatchingKey):
        verify_ed25519(others, signature=signature, message=message)
    with pytest.raises(NoMatchingKey):
        verify_ed25519([], signature=signature, message=message)


@pytest.mark.parametrize("length", [0, 63, 65, 640])
def test_an_ed25519_signature_of_another_length_is_malformed_whatever_the_keys(length: int) -> None:
    with pytest.raises(VerificationError) as caught:
        verify_ed25519([RFC_8032[0]], signature=b"s" * length, message=b"")
    assert type(caught.value) is VerificationError
