"""Every header of a signature, malformed in every way: 401, or 400 where it is no HTTP, and never 500."""

import hashlib
from dataclasses import replace

import pytest

from tests.hostile.stranger import Good, Stranger

FAL = tuple(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp", "signature"))
PIXVERSE = tuple(f"webhook-{name}" for name in ("timestamp", "nonce", "signature"))

VALUES: dict[str, bytes] = {
    "empty": b"",
    "blank": b"   ",
    "equals": b"=",
    "zero": b"0",
    "negative": b"-1795262400",
    "plus": b"+1795262400",
    "float": b"1795262400.0",
    "exponent": b"1.7952624e9",
    "hexadecimal": b"0x6b014fc0",
    "underscored": b"1_795_262_400",
    "spaced": b"1795 262 400",
    "tabbed": b"1795262400\t0",
    "13-digits-of-milliseconds": b"1795262400000",
    "12-nines": b"9" * 12,
    "400-digits": b"9" * 400,
    "5000-digits": b"9" * 5000,
    "60000-bytes": b"a" * 60_000,
    "latin-1": b"1795262400\xe9",
    "not-utf-8": b"\xff\xfe\xfd",
    "arabic-digits": "١٧٩٥٢٦٢٤٠٠".encode(),
    "full-width-digits": "".join(chr(0xFF10 + digit) for digit in (1, 7, 9, 5, 2, 6, 2, 4, 0, 0)).encode(),
    "superscript-digits-in-latin-1": b"\xb2\xb3\xb9",
    "utf-8-of-half-a-surrogate-pair": b"\xed\xa0\x80",
    "no-break-space": b"1795262400\xa0",
    "comma-joined-twice": b"1795262400, 1795262400",
    "quoted": b'"1795262400"',
    "nan": b"nan",
    "none": b"None",
    "json": b'{"$ne": null}',
    "128-letters-that-are-not-hexadecimal": b"zz" * 64,
    "hexadecimal-with-spaces": b"ab " * 42 + b"ab",
    "standard-webhooks": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    "format-string": b"%s%n{0.__class__}",
}
NO_HTTP: dict[str, bytes] = {
    "nul": b"1795262400\x00",
    "escape": b"\x1b[2J",
    "delete": b"1795262400\x7f",
    "carriage-return": b"1795262400\rx",
}


def good(name: str, stranger: Stranger) -> Good:
    return Good.fal(stranger.served) if name in FAL else Good.pixverse()


def resigned(value: bytes, name: str, stranger: Stranger) -> Good:
    """With a signature over the malformed value too, where somebody with the key could make one."""
    text = value.decode("latin-1").strip(" \t")
    if name == "webhook-timestamp":
        return Good.pixverse(timestamp=text)
    if name == "webhook-nonce":
        return Good.pixverse(nonce=text)
    callback = good(name, stranger)
    if name != "x-fal-webhook-timestamp":
        return callback
    headers = dict(callback.headers)
    signed = [
        headers[FAL[0]],
        headers[FAL[1]],
        text.encode("latin-1"),
        hashlib.sha256(callback.body).hexdigest().encode(),
    ]
    signature = stranger.served.fal.key.sign(b"\n".join(signed)).signature.hex()
    return replace(callback, headers=callback.changed(FAL[3], signature.encode()), hidden=(signature,))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", [*FAL, *PIXVERSE])
async def test_a_malformed_value_is_not_verified(stranger: Stranger, name: str, kind: str) -> None:
    callback = resigned(VALUES[kind], name, stranger)
    raw = callback.spoilt(callback.changed(name, VALUES[kind]))
    (reply,) = await stranger.is_refused(raw, status=401, hides=(callback.token, *callback.hidden))
    assert reply.body == b"not verified"


@pytest.mark.parametrize("kind", NO_HTTP)
@pytest.mark.parametrize("name", [*FAL, *PIXVERSE])
async def test_a_value_that_no_header_can_hold_is_a_bad_request(stranger: Stranger, name: str, kind: str) -> None:
    callback = good(name, stranger)
    raw = callback.spoilt(callback.changed(name, NO_HTTP[kind]))
    await stranger.is_refused(raw, status=400, hides=(callback.token, *callback.hidden))


@pytest.mark.parametrize("name", [*FAL, *PIXVERSE])
@pytest.mark.parametrize(
    "kind", ["missing", "twice", "twice-in-capitals", "twice-and-empty", "in-the-query", "underscored-name"]
)
async def test_a_header_that_is_not_there_exactly_once_is_not_verified(
    stranger: Stranger, name: str, kind: str
) -> None:
    callback = good(name, stranger)
    value = dict(callback.headers)[name]
    without = callback.changed(name)
    headers = {
        "missing": without,
        "twice": [*callback.headers, (name, value)],
        "twice-in-capitals": [*callback.headers, (name.upper(), value)],
        "twice-and-empty": [(name, b""), *callback.headers],
        "in-the-query": without,
        "underscored-name": [*without, (name.replace("-", "_"), value)],
    }[kind]
    if kind == "in-the-query":
        callback = replace(callback, path=f"{callback.path}?{name}={value.decode('latin-1').replace(' ', '+')}")
    await stranger.is_refused(callback.spoilt(headers), status=401, hides=(callback.token, *callback.hidden))


@pytest.mark.parametrize("provider", ["fal", "pixverse"])
async def test_what_is_spoilt_here_would_have_been_taken(stranger: Stranger, provider: str) -> None:
    callback = Good.fal(stranger.served) if provider == "fal" else Good.pixverse()
    assert (await callback.sent_to(stranger.served)).is_ok
