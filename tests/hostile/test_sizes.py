"""Too much of anything: refused early, read no further, and small in memory."""

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from replyhook.ids import new_id
from replyhook_receiver.bounds import MAX_HEADER_BYTES
from tests.hostile.stranger import Good, Served, Stranger, a_served_receiver
from tests.hostile.wire import connected, heard, replies, request
from tests.receiver.support import useapi_body

LIMIT = 4096


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with a_served_receiver(tmp_path_factory.mktemp("sizes"), max_callback_bytes=LIMIT) as running:
        yield running


def chunked(good: Good, body: bytes) -> bytes:
    head = (
        good.spoilt()
        .partition(b"\r\n\r\n")[0]
        .replace(b"content-length: %d" % len(good.body), b"transfer-encoding: chunked")
    )
    return head + b"\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def of_size(size: int) -> Good:
    job = new_id("job")
    good = Good.useapi(job)
    return replace(good, body=useapi_body(job, pad="x" * (size - len(useapi_body(job, pad="")))))


@pytest.mark.parametrize("with_length", [True, False])
async def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_not(
    stranger: Stranger, with_length: bool
) -> None:
    fits, over = of_size(LIMIT), of_size(LIMIT + 1)
    (reply,) = await stranger.sends(fits.spoilt() if with_length else chunked(fits, fits.body))
    assert reply.is_ok
    raw = over.spoilt() if with_length else chunked(over, over.body)
    await stranger.is_refused(raw, status=413, hides=(over.token,))


FLOODS: dict[str, tuple[bytes, bytes, tuple[int, ...]]] = {
    "body-of-a-terabyte": (b"content-length: 1000000000000\r\n\r\n", b"x" * 65536, (413,)),
    "chunks-without-end": (b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n", (413,)),
    "one-chunk-without-end": (b"transfer-encoding: chunked\r\n\r\nfffffffffff\r\n", b"x" * 65536, (413,)),
    "chunks-of-one-byte-with-long-extensions": (
        b"transfer-encoding: chunked\r\n\r\n", b"1;" + b"e" * 60_000 + b"\r\nx\r\n", (0, 413)
    ),
    "a-chunk-extension-without-end": (b"transfer-encoding: chunked\r\n\r\n5;", b"x" * 65536, (0,)),
    "a-chunk-size-without-end": (b"transfer-encoding: chunked\r\n\r\n", b"0" * 65536, (0, 400)),
    "a-trailer-without-end": (b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"x" * 65536, (0,)),
    "trailers-without-end": (b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: yyyyyyyyyyyyy\r\n" * 4000, (0,)),
    "headers-without-end": (b"", b"x: yyyyyyyyyyyyy\r\n" * 4000, (0,)),
    "a-header-without-end": (b"x: ", b"x" * 65536, (0,)),
    "a-header-name-without-end": (b"", b"x" * 65536, (0,)),
}  # fmt: skip


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("token", ["right-token", "wrong-token", "no-such-route"])
async def test_a_flood_is_cut_off_and_costs_little_memory(stranger: Stranger, kind: str, token: str) -> None:
    head, piece, statuses = FLOODS[kind]
    good = Good.useapi()
    path = {"right-token": good.path, "wrong-token": good.path + "x", "no-such-route": "/nowhere"}[token]
    if token != "right-token":
        statuses = (*statuses, 401 if token == "wrong-token" else 404)
    before = stranger.kept()
    gc.collect()
    tracemalloc.start()
    try:
        said, sent = await flood(
            stranger.served.port, b"POST %s HTTP/1.1\r\nhost: x\r\n%s" % (path.encode(), head), piece
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent < 32 * 1024 * 1024
    assert peak < 8 * 1024 * 1024
    assert [reply.status for reply in replies(said)] in [[status] if status else [] for status in statuses]
    assert stranger.kept() == before
    await stranger.finds_it_alive()
    stranger.hears_nothing(said, [good.token])


async def flood(port: int, head: bytes, piece: bytes) -> tuple[bytes, int]:
    """Send without end until cut off: what was said meanwhile, and how much got out. Fails after 30 s."""
    async with connected(port) as (reader, writer):
        hearing = asyncio.create_task(heard(reader, quiet=30))
        sent = 0
        with contextlib.suppress(ConnectionError):
            writer.write(head)
            async with asyncio.timeout(30):
                while not hearing.done():
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
        with contextlib.suppress(ConnectionError):
            return await hearing, sent
        return b"", sent


@pytest.mark.parametrize("count", [101, 1000, 8000])
async def test_more_headers_than_any_provider_sends_are_refused_for_that(stranger: Stranger, count: int) -> None:
    good = Good.useapi()
    raw = good.spoilt([*good.headers, *((f"x{number}", b"") for number in range(count))])
    await stranger.is_refused(raw, status=431 if len(raw) < MAX_HEADER_BYTES else (0, 431), hides=(good.token,))


async def test_large_headers_that_come_in_one_piece_are_refused_whatever_the_token(stranger: Stranger) -> None:
    good = Good.useapi()
    raw = good.spoilt([*good.headers, ("x-long", b"a" * 2 * MAX_HEADER_BYTES)])
    await stranger.is_refused(raw, status=(0, 400, 431), hides=(good.token,))


@pytest.mark.parametrize("where", ["value", "name", "target", "query"])
@pytest.mark.parametrize("size", [60_000, 2 * MAX_HEADER_BYTES])
async def test_headers_over_the_limit_close_the_connection_and_large_ones_below_it_are_read(
    stranger: Stranger, where: str, size: int
) -> None:
    good = Good.fal(stranger.served)
    long = "a" * size
    raw = {
        "value": lambda: request(good.path + "x", good.body, [*good.headers, ("x-long", long.encode())]),
        "name": lambda: request(good.path + "x", good.body, [*good.headers, (long, b"1")]),
        "target": lambda: request(good.path + long, good.body, good.headers),
        "query": lambda: request(good.path + "x?" + long, good.body, good.headers),
    }[where]()
    head, _, body = raw.partition(b"\r\n\r\n")
    status = 401 if size < MAX_HEADER_BYTES else (0, 400, 401)  # one read may hold the end of the headers already
    await stranger.is_refused(head + b"\r\n\r\n", body, status=status, hides=(good.token,))


async def test_chunks_of_one_byte_each_are_a_body(stranger: Stranger) -> None:
    good = of_size(LIMIT)
    head = chunked(good, good.body).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in good.body)
    (reply,) = await stranger.sends(head, *(chunks[at : at + 999] for at in range(0, len(chunks), 999)), b"0\r\n\r\n")
    assert reply.is_ok


async def test_after_a_refusal_before_its_body_came_the_connection_serves_on(stranger: Stranger) -> None:
    """Whoever is told no early and sends the rest all the same is not cut off."""
    good = Good.useapi()
    raw = request(good.path + "x", good.body, good.headers, close=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    async with connected(stranger.served.port) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        (first,) = replies(await heard(reader, quiet=0.1))
        writer.write(body)
        await asyncio.sleep(1.2)
        writer.write(request(good.path, good.body, good.headers, close=False))
        (second,) = replies(await heard(reader, quiet=0.1))
    assert first.status == 401
    assert second.is_ok


async def test_a_trailer_is_no_header(stranger: Stranger) -> None:
    good = Good.fal(stranger.served)
    raw = chunked(replace(good, headers=good.changed("x-fal-webhook-signature")), good.body)
    signature = b"x-fal-webhook-signature: " + good.hidden[0].encode()
    for split in (0, len(raw) - 2):  # all at once, and after the application has begun
        pieces = (raw[: split or -2], (raw[split:-2] if split else b"") + signature + b"\r\n\r\n")
        await stranger.is_refused(*pieces, status=401, hides=(good.token, *good.hidden))
