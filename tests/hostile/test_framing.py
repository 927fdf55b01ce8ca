"""HTTP that is broken on the wire, or that means two things: refused, and nothing smuggled in behind it."""

from collections.abc import Callable

import pytest

from replyhook.ids import new_id
from tests.hostile.stranger import Good, Stranger
from tests.hostile.wire import request

Build = Callable[[Good, bytes], bytes]


def framed(*lines: bytes, body: bytes | None = None, version: bytes = b"HTTP/1.1") -> Build:
    """An otherwise good callback with these header lines in place of its length; ``smuggled`` follows its body."""

    def build(good: Good, smuggled: bytes) -> bytes:
        content = good.body if body is None else body.replace(b"{chunk}", b"%x" % len(good.body))
        content = content.replace(b"{body}", good.body).replace(b"{smuggled}", smuggled)
        head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in good.headers)
        extra = b"".join(line.replace(b"{length}", b"%d" % len(good.body)) + b"\r\n" for line in lines)
        start = b"POST " + good.path.encode() + b" " + version
        return start + b"\r\nhost: x\r\n" + head + extra + b"\r\n" + content

    return build


def replaced(old: bytes, new: bytes) -> Build:
    """A good callback with a piece of it exchanged."""

    def build(good: Good, _: bytes) -> bytes:
        raw = good.spoilt()
        assert old.replace(b"{path}", good.path.encode()) in raw
        return raw.replace(old.replace(b"{path}", good.path.encode()), new.replace(b"{path}", good.path.encode()), 1)

    return build


def only(raw: bytes) -> Build:
    """These very bytes."""
    return lambda _, __: raw


CHUNKED = b"transfer-encoding: chunked"
WHOLE = b"{chunk}\r\n{body}\r\n0\r\n\r\n"

LENGTHS: dict[str, Build] = {
    "negative": framed(b"content-length: -1"),
    "plus": framed(b"content-length: +{length}"),
    "hexadecimal": framed(b"content-length: 0x40"),
    "float": framed(b"content-length: {length}.0"),
    "empty": framed(b"content-length:"),
    "letters": framed(b"content-length: many"),
    "list": framed(b"content-length: {length}, {length}"),
    "inner-space": framed(b"content-length: 1 0"),
    "underscore": framed(b"content-length: 1_0"),
    "2-to-the-64": framed(b"content-length: 18446744073709551616"),
    "400-digits": framed(b"content-length: " + b"9" * 400),
    "twice-the-same": framed(b"content-length: {length}", b"content-length: {length}"),
    "twice-different": framed(b"content-length: {length}", b"content-length: 0"),
    "twice-and-zero-first": framed(b"content-length: 0", b"content-length: {length}", body=b"{smuggled}"),
    "arabic-digits": framed("content-length: ١٢".encode()),
}
TRANSFER_ENCODINGS: dict[str, Build] = {
    "with-a-length-before": framed(b"content-length: {length}", CHUNKED, body=b"0\r\n\r\n{smuggled}"),
    "with-a-length-after": framed(CHUNKED, b"content-length: {length}", body=b"0\r\n\r\n{smuggled}"),
    "with-a-length-of-zero": framed(CHUNKED, b"content-length: 0", body=WHOLE + b"{smuggled}"),
    "not-chunked-last": framed(b"transfer-encoding: chunked, gzip", body=WHOLE + b"{smuggled}"),
    "unknown": framed(b"transfer-encoding: xchunked", body=WHOLE + b"{smuggled}"),
    "identity": framed(b"transfer-encoding: identity", body=b"{body}{smuggled}"),
    "identity-and-a-length": framed(
        b"transfer-encoding: identity", b"content-length: {length}", body=b"{body}{smuggled}"
    ),
    "quoted": framed(b'transfer-encoding: "chunked"', body=WHOLE),
    "space-before-the-colon": framed(b"transfer-encoding : chunked", body=WHOLE + b"{smuggled}"),
    "length-and-space-before-the-colon": framed(
        b"content-length: {length}", b"transfer-encoding : chunked", body=b"0\r\n\r\n{smuggled}"
    ),
    "vertical-tab": framed(b"transfer-encoding: \x0bchunked", body=WHOLE),
    "folded": framed(b"transfer-encoding:\r\n chunked", b"content-length: {length}", body=b"0\r\n\r\n{smuggled}"),
}
CHUNKS: dict[str, Build] = {
    "size-that-is-no-number": framed(CHUNKED, body=b"zz\r\n{body}\r\n0\r\n\r\n"),
    "size-that-is-negative": framed(CHUNKED, body=b"-1\r\n{body}\r\n0\r\n\r\n"),
    "size-with-0x": framed(CHUNKED, body=b"0x{chunk}\r\n{body}\r\n0\r\n\r\n"),
    "size-that-is-missing": framed(CHUNKED, body=b"\r\n{body}\r\n0\r\n\r\n"),
    "size-beyond-64-bits": framed(CHUNKED, body=b"1ffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
    "size-of-400-digits": framed(CHUNKED, body=b"f" * 400 + b"\r\n{body}\r\n0\r\n\r\n"),
    "data-longer-than-its-size": framed(CHUNKED, body=b"1\r\n{body}\r\n0\r\n\r\n"),
    "data-ended-by-a-bare-line-feed": framed(CHUNKED, body=b"{chunk}\r\n{body}\n0\r\n\r\n"),
    "data-not-ended": framed(CHUNKED, body=b"{chunk}\r\n{body}0\r\n\r\n"),
    "trailer-that-is-none": framed(CHUNKED, body=b"{chunk}\r\n{body}\r\n0\r\n\x00\x01: x\r\n\r\n"),
}
LINES: dict[str, Build] = {
    "bare-carriage-return": replaced(b"\r\n", b"\r"),
    "no-colon": replaced(b"\r\nhost", b"\r\nnonsense\r\nhost"),
    "no-name": replaced(b"\r\nhost", b"\r\n: x\r\nhost"),
    "space-in-a-name": replaced(b"\r\nhost", b"\r\nx y: z\r\nhost"),
    "nul-in-a-name": replaced(b"\r\nhost", b"\r\nx\x00y: z\r\nhost"),
    "nul-in-a-value": replaced(b"\r\nhost", b"\r\nx: \x00\r\nhost"),
    "not-ascii-in-a-name": replaced(b"\r\nhost", b"\r\nx\xff: z\r\nhost"),
    "folded-first-line": replaced(b"\r\nhost", b"\r\n folded: x\r\nhost"),
}
STARTS: dict[str, Build] = {
    "http-3.0": replaced(b"HTTP/1.1", b"HTTP/3.0"),
    "http-9.9": replaced(b"HTTP/1.1", b"HTTP/9.9"),
    "http-1.10": replaced(b"HTTP/1.1", b"HTTP/1.10"),
    "http-11": replaced(b"HTTP/1.1", b"HTTP/11"),
    "no-number": replaced(b"HTTP/1.1", b"HTTP/"),
    "lower-case": replaced(b"HTTP/1.1", b"http/1.1"),
    "another-protocol": replaced(b"HTTP/1.1", b"SIP/2.0"),
    "a-word-more": replaced(b"HTTP/1.1", b"x HTTP/1.1"),
    "lower-case-method": replaced(b"POST ", b"post "),
    "unknown-method": replaced(b"POST ", b"BREW "),
    "nul-in-the-method": replaced(b"POST ", b"PO\x00T "),
    "no-method": replaced(b"POST ", b""),
    "no-target": replaced(b"{path} ", b""),
    "authority": replaced(b"{path}", b"hooks.example.com:443"),
    "relative": replaced(b"{path}", b"callbacks/useapi/x"),
    "raw-bytes": replaced(b"{path}", b"{path}\xff\xfe"),
    "raw-nul": replaced(b"{path}", b"{path}\x00"),
    "raw-utf-8": replaced(b"{path}", b"{path}" + "ä".encode()),
    "absolute-without-a-host": replaced(b"{path}", b"http://{path}"),
    "absolute-with-a-port-beyond-65535": replaced(b"{path}", b"http://x:99999{path}"),
    "connect": replaced(b"POST {path}", b"CONNECT hooks.example.com:443"),
    "http-2-preface": only(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    "tls-client-hello": only(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2),
    "ssh-banner": only(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "proxy-protocol": only(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n"),
    "binary": only(bytes(range(256)) * 8),
    "nul-bytes": only(b"\x00" * 4096),
}


@pytest.mark.parametrize("kind", LENGTHS)
async def test_a_content_length_that_is_none_is_a_bad_request(stranger: Stranger, kind: str) -> None:
    await is_bad(stranger, LENGTHS[kind])


@pytest.mark.parametrize("kind", TRANSFER_ENCODINGS)
async def test_a_transfer_encoding_that_could_hide_a_request_is_a_bad_request(stranger: Stranger, kind: str) -> None:
    await is_bad(stranger, TRANSFER_ENCODINGS[kind])


@pytest.mark.parametrize("kind", CHUNKS)
async def test_a_broken_chunk_is_a_bad_request(stranger: Stranger, kind: str) -> None:
    await is_bad(stranger, CHUNKS[kind])


@pytest.mark.parametrize("kind", LINES)
async def test_a_line_that_is_no_header_is_a_bad_request(stranger: Stranger, kind: str) -> None:
    await is_bad(stranger, LINES[kind])


@pytest.mark.parametrize("kind", STARTS)
async def test_a_first_line_that_is_none_is_a_bad_request(stranger: Stranger, kind: str) -> None:
    await is_bad(stranger, STARTS[kind])


async def is_bad(stranger: Stranger, build: Build) -> None:
    """Refused as no HTTP, the callback in front not taken, and the one behind it not heard."""
    front, behind = Good.useapi(), Good.useapi()
    raw = build(front, behind.spoilt())
    await stranger.is_refused(raw, status=400, hides=(front.token, behind.token), seconds=30)


async def test_what_is_cut_short_by_its_length_is_not_verified_and_its_rest_is_no_request(stranger: Stranger) -> None:
    good, behind = Good.fal(stranger.served), Good.useapi()
    length = b"content-length: %d" % len(good.body)
    for is_last, wanted in ((True, [[401]]), (False, [[401, 400], [400]])):  # the 400 may overtake the 401
        raw = request(good.path, good.body, good.headers, close=is_last)
        before = stranger.kept()
        answers = await stranger.sends(
            raw.replace(length, b"content-length: %d" % (len(good.body) - 9)) + behind.spoilt()
        )
        assert [reply.status for reply in answers] in wanted
        assert stranger.kept() == before


async def test_what_is_longer_than_said_and_given_up_is_not_kept(stranger: Stranger) -> None:
    good = Good.useapi()
    raw = good.spoilt().replace(b"content-length: %d" % len(good.body), b"content-length: %d" % (len(good.body) + 9))
    before = stranger.kept()
    with pytest.raises(TimeoutError):
        await stranger.sends(raw, seconds=0.3)
    assert stranger.kept() == before
    await stranger.finds_it_alive()


async def test_what_follows_a_request_that_asked_to_close_is_not_heard(stranger: Stranger) -> None:
    jobs = [new_id("job"), new_id("job")]
    (reply,) = await stranger.sends(b"".join(Good.useapi(job).spoilt() for job in jobs))
    assert reply.is_ok
    known = {row[0] for row in stranger.served.rows("SELECT id FROM jobs")}
    assert [job in known for job in jobs] == [True, False]


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0", b"x" * 5000])
async def test_an_upgrade_without_a_body_is_not_taken_up(stranger: Stranger, upgrade: bytes) -> None:
    good = Good.useapi()
    wanted = [("connection", b"upgrade"), ("upgrade", upgrade), ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")]
    wanted += [("sec-websocket-version", b"13")]
    raw = request(good.path, b"", wanted, method="GET", close=False).replace(b"content-length: 0\r\n", b"")
    await stranger.is_refused(raw, status=405, hides=(good.token,))
