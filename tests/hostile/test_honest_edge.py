"""The honest edge: requests that are unusual and legal are taken, since a 4xx may be a video lost."""

import asyncio
from dataclasses import replace

import pytest

from tests.hostile.stranger import Good, Stranger
from tests.hostile.wire import connected, heard, replies, request

ADDED: dict[str, list[tuple[str, bytes]]] = {
    "content-type-missing": [("content-type", b"")],
    "content-type-with-parameters": [("content-type", b'application/json; charset="UTF-8"; v=1')],
    "content-type-of-another-charset": [("content-type", b"application/json; charset=iso-8859-1")],
    "content-type-of-a-form": [("content-type", b"application/x-www-form-urlencoded")],
    "content-type-of-parts-without-a-boundary": [("content-type", b"multipart/form-data")],
    "content-type-that-is-none": [("content-type", b"\xff/;;=")],
    "content-type-twice": [("content-type", b"application/json"), ("content-type", b"text/plain")],
    "content-encoding-identity": [("content-encoding", b"identity")],
    "accept-nothing-we-send": [("accept", b"image/png"), ("accept-encoding", b"identity;q=0")],
    "user-agent-not-ascii": [("user-agent", "päng/1.0".encode())],
    "user-agent-empty": [("user-agent", b"")],
    "the-same-header-twice": [("x-trace", b"1"), ("x-trace", b"2"), ("via", b"1.1 a"), ("via", b"1.1 b")],
    "ninety-headers": [(f"x-{number}", b"1") for number in range(90)],
    "a-header-of-8000-bytes": [("baggage", b"k=v," * 2000)],
    "forwarded-by-many": [("x-forwarded-for", b", ".join([b"198.51.100.1"] * 50)), ("x-forwarded-proto", b"https")],
    "cookies-and-authorization": [("cookie", b"a=b"), ("authorization", b"Basic eDp5")],
    "conditional": [("if-none-match", b"*"), ("if-modified-since", b"Sat, 21 Nov 2026 12:00:00 GMT")],
    "range": [("range", b"bytes=0-1")],
    "expect-something-else": [("expect", b"200-ok")],
    "origin-and-cors": [("origin", b"https://evil.example"), ("sec-fetch-site", b"cross-site")],
    "method-override": [("x-http-method-override", b"DELETE")],
    "upgrade-insecure": [("upgrade-insecure-requests", b"1")],
    "te-trailers": [("te", b"trailers")],
}
PROVIDERS = ["fal", "pixverse", "useapi"]


def good(provider: str, stranger: Stranger) -> Good:
    return {"fal": lambda: Good.fal(stranger.served), "pixverse": Good.pixverse, "useapi": Good.useapi}[provider]()


async def is_taken(stranger: Stranger, *pieces: bytes) -> None:
    before = len(stranger.kept()["jobs"]), stranger.kept()["callbacks"]
    (reply,) = await stranger.sends(*pieces)
    assert reply.is_ok
    assert (len(stranger.kept()["jobs"]), stranger.kept()["callbacks"]) > before
    stranger.hears_nothing(reply.body)


@pytest.mark.parametrize("kind", ADDED)
async def test_headers_that_are_unusual_do_no_harm(stranger: Stranger, kind: str) -> None:
    for provider in PROVIDERS:
        callback = good(provider, stranger)
        names = {name for name, _ in ADDED[kind]}
        headers = [pair for pair in callback.headers if pair[0] not in names]
        await is_taken(stranger, callback.spoilt([*headers, *(p for p in ADDED[kind] if p != ("content-type", b""))]))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_names_in_any_case_and_spaces_around_values_are_the_same_headers(
    stranger: Stranger, provider: str
) -> None:
    callback = good(provider, stranger)
    await is_taken(stranger, callback.spoilt([(name.upper(), value) for name, value in callback.headers]))
    callback = good(provider, stranger)
    headers = [(name.title(), b" \t " + value + b" \t ") for name, value in callback.headers]
    await is_taken(stranger, callback.spoilt(headers))


async def test_fals_signature_may_be_in_capitals(stranger: Stranger) -> None:
    callback = Good.fal(stranger.served)
    value = dict(callback.headers)["x-fal-webhook-signature"]
    await is_taken(stranger, callback.spoilt(callback.changed("x-fal-webhook-signature", value.upper())))


@pytest.mark.parametrize(
    "query", ["?", "?a=b", "?token=x&provider=fal", "?%00=%FF", "?" + "q" * 4000, "?a?b#c", "#part"]
)
async def test_a_query_that_somebody_added_to_the_reply_url_does_no_harm(stranger: Stranger, query: str) -> None:
    for provider in PROVIDERS:
        callback = good(provider, stranger)
        await is_taken(stranger, replace(callback, path=callback.path + query).spoilt())


async def test_a_path_with_needless_escapes_is_the_same_path(stranger: Stranger) -> None:
    callback = Good.useapi()
    path = callback.path.replace("/callbacks/useapi", "/%63allbacks/%75seapi").replace(".", "%2E").replace("_", "%5f")
    await is_taken(stranger, replace(callback, path=path).spoilt())


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_body_in_chunks_without_a_length_is_taken(stranger: Stranger, provider: str) -> None:
    callback = good(provider, stranger)
    for kind in (b"chunked", b"Chunked"):
        callback = good(provider, stranger)
        length = b"content-length: %d" % len(callback.body)
        head = callback.spoilt().partition(b"\r\n\r\n")[0].replace(length, b"transfer-encoding: " + kind) + b"\r\n\r\n"
        half = len(callback.body) // 2
        pieces = [callback.body[:half], callback.body[half:]]
        chunks = [b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
        await is_taken(stranger, head, *chunks, b"000\r\nx-trailer: 1\r\nwebhook-nonce: x\r\n\r\n")


async def test_http_1_0_is_answered(stranger: Stranger) -> None:
    for version in (b"HTTP/1.0", b"HTTP/1.0\r\nconnection: keep-alive"):
        await is_taken(stranger, Good.fal(stranger.served).spoilt().replace(b"HTTP/1.1", version, 1))


async def test_a_target_with_scheme_and_host_is_the_same_target(stranger: Stranger) -> None:
    callback = Good.fal(stranger.served)
    await is_taken(stranger, replace(callback, path="https://elsewhere.example:8443" + callback.path).spoilt())


async def test_line_ends_before_a_request_are_passed_over(stranger: Stranger) -> None:
    await is_taken(stranger, b"\r\n\r\n" + Good.useapi().spoilt())


async def test_a_request_byte_by_byte_is_a_request(stranger: Stranger) -> None:
    await is_taken(stranger, *(bytes([byte]) for byte in Good.fal(stranger.served).spoilt()))


async def test_whoever_asks_before_sending_the_body_is_told_to_go_on(stranger: Stranger) -> None:
    callback = Good.fal(stranger.served)
    head, _, body = callback.spoilt([*callback.headers, ("Expect", b"100-Continue")]).partition(b"\r\n\r\n")
    async with connected(stranger.served.port) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).startswith(b"HTTP/1.1 100")
        writer.write(body)
        (reply,) = replies(await heard(reader))
    assert reply.is_ok


async def test_whoever_asks_first_with_a_wrong_token_is_told_no_without_the_body(stranger: Stranger) -> None:
    callback = Good.useapi()
    raw = request(callback.path + "x", b"y" * 1000, [("expect", b"100-continue")])
    await stranger.is_refused(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", status=401, hides=(callback.token,))


async def test_requests_sent_without_waiting_are_answered_in_order(stranger: Stranger) -> None:
    callbacks = [Good.useapi() for _ in range(5)]
    wrong = request(callbacks[0].path + "x", b"{}", close=False)
    raw = [request(each.path, each.body, each.headers, close=False) for each in callbacks]
    answers = await stranger.sends(b"".join([*raw[:2], wrong, *raw[2:]]))
    assert [reply.status for reply in answers] == [200, 200, 401, 200, 200, 200]


async def test_one_connection_serves_one_callback_after_another(stranger: Stranger) -> None:
    async with connected(stranger.served.port) as (reader, writer):
        for _ in range(20):
            callback = Good.pixverse()
            writer.write(request(callback.path, callback.body, callback.headers, close=False))
            (reply,) = replies(await heard(reader, quiet=0.1))
            assert reply.is_ok


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
async def test_an_offer_to_upgrade_is_passed_over_and_its_body_taken(stranger: Stranger, upgrade: bytes) -> None:
    """Java's HttpClient offers h2c with every plain request, behind a proxy that passes it on."""
    callback = Good.fal(stranger.served)
    offer = [
        ("connection", b"Upgrade, HTTP2-Settings"),
        ("upgrade", upgrade),
        ("http2-settings", b"AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"),
    ]
    raw = request(callback.path, callback.body, [*callback.headers, *offer], close=False)
    await is_taken(stranger, raw)


async def test_a_body_that_comes_after_an_offer_to_upgrade_is_taken_too(stranger: Stranger) -> None:
    callback = Good.fal(stranger.served)
    offer = [("connection", b"upgrade"), ("upgrade", b"h2c")]
    head, _, body = request(callback.path, callback.body, [*callback.headers, *offer], close=False).partition(
        b"\r\n\r\n"
    )
    async with connected(stranger.served.port) as (reader, writer):
        for piece in (head + b"\r\n\r\n" + body[:5], body[5:20], body[20:]):
            writer.write(piece)
            await asyncio.sleep(0.05)
        (reply,) = replies(await heard(reader))
    assert reply.is_ok
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("version", [b"", b" HTTP/2.0"])
async def test_an_odd_version_with_a_good_token_is_taken_whole(stranger: Stranger, version: bytes) -> None:
    await is_taken(stranger, Good.useapi().spoilt().replace(b" HTTP/1.1", version, 1))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_same_callback_again_and_again_is_ok_each_time(stranger: Stranger, provider: str) -> None:
    callback = good(provider, stranger)
    for age in (0, 60, 299):
        stranger.served.clock.move(seconds=age)
        assert (await callback.sent_to(stranger.served)).is_ok
        stranger.served.clock.move(seconds=-age)
