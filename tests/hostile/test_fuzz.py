"""Anything at all: a verifier, a parser and the server refuse it or take it, and do nothing else."""

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from nacl.signing import SigningKey

from replyhook.errors import NoMatchingKey, UnreadableMessage, VerificationError
from replyhook.jobs import Trust
from replyhook.messages import Callback
from replyhook.providers import PROVIDERS, VerificationKeys
from replyhook.query_forms import check_form_signature
from replyhook.signatures import verify_ed25519
from replyhook_receiver.jwks import MAX_KEYS, read_jwks
from tests.hostile.stranger import PIXVERSE_SECRET, Good, Stranger, pixverse_headers
from tests.hostile.wire import exchange, replies
from tests.receiver.support import NOW, TOKENS

FEW = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
KEY = SigningKey(bytes(range(32)))
KEYS = VerificationKeys(public_keys=[bytes(KEY.verify_key)], secrets=[PIXVERSE_SECRET])
NAMES = [
    *(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp", "signature")),
    *(f"webhook-{name}" for name in ("id", "timestamp", "nonce", "signature")),
    "content-type",
]
LATIN = st.text(st.characters(max_codepoint=255), max_size=80)
SECONDS = str(int(NOW.timestamp()))
PLAUSIBLE = st.sampled_from([SECONDS, "0" * 128, "A" * 32, "A" * 43 + "=", "9" * 400, "", "ü", "v1,AAAA"])
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), LATIN | PLAUSIBLE), max_size=8).map(tuple)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


def callback(name: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Callback:
    return Callback(provider=name, headers=headers, body=body, received_at=NOW)


@FEW
@given(name=st.sampled_from(sorted(PROVIDERS)), headers=HEADERS, body=BODIES)
def test_nothing_that_nobody_signed_is_signed_and_nothing_but_a_refusal_comes_of_it(
    name: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    provider = PROVIDERS[name]()
    given_one = callback(name, headers, body)
    with contextlib.suppress(VerificationError):
        assert provider.verify(given_one, keys=KEYS, now=NOW) is not Trust.SIGNED
    with contextlib.suppress(UnreadableMessage):
        provider.parse_callback(given_one)


def fal_signed() -> Callback:
    body = b'{"request_id":"r-1","gateway_request_id":"r-1","status":"OK","payload":{"video":{"url":"https://v3.fal.media/1.mp4"}}}'
    message = "\n".join(("r-1", "user-1", SECONDS, hashlib.sha256(body).hexdigest())).encode()
    values = ("r-1", "user-1", SECONDS, KEY.sign(message).signature.hex())
    return callback("fal", tuple(zip(NAMES[:4], values, strict=True)), body)


def pixverse_signed() -> Callback:
    body = b'{"id":"123456789","status":1,"url":"https://media.pixverse.ai/1.mp4?a=b~c*d","size":10.5}'
    return callback("pixverse", tuple(pixverse_headers(body, nonce="A1" * 16).items()), body)


@FEW
@given(data=st.data())
@pytest.mark.parametrize("signed", [fal_signed(), pixverse_signed()], ids=["fal", "pixverse"])
def test_a_signed_message_with_a_byte_changed_is_refused_or_says_the_same(
    signed: Callback, data: st.DataObject
) -> None:
    """PixVerse signs fields, not bytes: a space more between them is the same message."""
    provider = PROVIDERS[signed.provider]()
    assert provider.verify(signed, keys=KEYS, now=NOW) is Trust.SIGNED
    covered = [place for place, (name, _) in enumerate(signed.headers) if name != "content-type"]
    where = data.draw(st.sampled_from([*covered, None]))
    if where is None:
        body = data.draw(one_changed(signed.body))
        forged = structs.replace(signed, body=body)
    else:
        name, value = signed.headers[where]
        text = data.draw(one_changed(value.encode())).decode("latin-1")
        headers = (*signed.headers[:where], (name, text), *signed.headers[where + 1 :])
        forged = structs.replace(signed, headers=headers)
    try:
        provider.verify(forged, keys=KEYS, now=NOW)
    except VerificationError:
        return
    assert provider.parse_callback(forged) == provider.parse_callback(signed)
    if where is not None:  # hexadecimal may be in capitals, and spaces around a value are none of it
        before, after = signed.headers[where][1], forged.headers[where][1].strip(" \t")
        assert after == before or (signed.provider == "fal" and after.lower() == before.lower())


@st.composite
def one_changed(draw: st.DrawFn, raw: bytes) -> bytes:
    """``raw`` with one byte exchanged, added or taken away."""
    place = draw(st.integers(0, len(raw) - 1))
    kept = draw(st.integers(0, 1))
    likely = st.sampled_from(b"0aAzZ/+= ").map(lambda code: bytes([code]))
    new = draw(likely | st.binary(min_size=kept, max_size=1))
    changed = raw[:place] + new + raw[place + 1 - kept :]
    return changed if changed != raw else raw + b"x"


DAMAGED_KEY = st.fixed_dictionaries(
    {},
    optional={
        "kty": st.sampled_from(["OKP", "RSA", None, 1]),
        "crv": st.sampled_from(["Ed25519", "X25519", []]),
        "x": st.text(max_size=50) | st.binary(min_size=30, max_size=34).map(lambda raw: raw.hex()) | JSON,
    },
)


@FEW
@given(document=JSON | st.fixed_dictionaries({"keys": st.lists(DAMAGED_KEY | JSON, max_size=40) | JSON}))
def test_any_document_is_a_key_set_of_whole_keys_or_unreadable(document: Any) -> None:
    try:
        keys = read_jwks(document)
    except UnreadableMessage:
        return
    assert 0 < len(keys) <= MAX_KEYS
    assert all(len(key) == 32 for key in keys)


@FEW
@given(
    keys=st.lists(st.binary(max_size=40), max_size=4), signature=st.binary(max_size=70), message=st.binary(max_size=40)
)
def test_no_key_and_no_signature_that_are_made_up_agree(keys: list[bytes], signature: bytes, message: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_ed25519(keys, signature=signature, message=message)
    with pytest.raises(NoMatchingKey):
        verify_ed25519(keys, signature=signature.ljust(64, b"\0")[:64], message=message + b"x")


@FEW
@given(body=BODIES, head=st.text(max_size=20), signature=st.text(max_size=50), secrets=st.lists(st.text(max_size=10)))
def test_no_form_of_any_body_agrees_with_a_made_up_signature(
    body: bytes, head: str, signature: str, secrets: list[str]
) -> None:
    with pytest.raises(VerificationError):
        check_form_signature(body, head=head, signature=signature, secrets=secrets)


@FEW
@given(raw=st.binary(max_size=400), provider=st.sampled_from(sorted(PROVIDERS)))
def test_any_path_that_was_decoded_is_no_token(raw: bytes, provider: str) -> None:
    for text in (raw.decode("latin-1"), raw.decode("utf-8", "replace"), raw.decode("utf-8", "surrogateescape")):
        with pytest.raises(VerificationError):
            TOKENS.read(text, provider=provider)


CHANGES = st.lists(st.tuples(st.floats(0, 0.999), st.booleans(), st.binary(max_size=2)), min_size=1, max_size=3)


@settings(FEW, max_examples=150)
@given(changes=CHANGES)
async def test_a_request_with_any_bytes_changed_is_never_a_fault_of_ours(
    stranger: Stranger, changes: list[tuple[float, bool, bytes]]
) -> None:
    good = Good.fal(stranger.served)
    raw = good.spoilt()
    for where, is_replaced, new in changes:
        place = int(where * len(raw))
        raw = raw[:place] + new + raw[place + is_replaced :]
    said = b""
    with contextlib.suppress(TimeoutError):  # it may wait for more
        said = await exchange(stranger.served.port, raw, seconds=0.3)
    statuses = [reply.status for reply in replies(said)]
    assert all(status == 200 or 400 <= status < 500 for status in statuses), said
    stranger.hears_nothing(said, [good.token])
