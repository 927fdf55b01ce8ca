"""The slow and the silent: given up in time, and in nobody's way."""

import asyncio
from collections.abc import Iterator

import pytest

from replyhook_receiver import bounds
from replyhook_receiver.web import callbacks
from tests.hostile.stranger import Good, Stranger
from tests.hostile.wire import connected, heard, replies, request


@pytest.fixture(autouse=True, scope="module")
def impatient() -> Iterator[None]:
    """The product's own limits, shortened before the server begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "HEADER_SECONDS", 0.3)
        patch.setattr(bounds, "LINGER_SECONDS", 0.2)
        patch.setattr(callbacks, "BODY_SECONDS", 0.4)
        yield


def head_of(good: Good, framing: bytes | None = None) -> bytes:
    """The headers of a callback on a connection that is to be kept, with a longer body announced than will come."""
    raw = request(good.path, good.body, good.headers, close=False)
    framing = framing or b"content-length: %d" % (len(good.body) + 10)
    return raw.partition(b"\r\n\r\n")[0].replace(b"content-length: %d" % len(good.body), framing) + b"\r\n\r\n"


STARTS: dict[str, bytes] = {
    "nothing": b"",
    "half-a-method": b"PO",
    "a-target-without-an-end": b"POST /callbacks/useapi/x",
    "half-a-header": b"POST / HTTP/1.1\r\nhost: x\r\nx-",
    "headers-but-no-empty-line": b"POST / HTTP/1.1\r\nhost: x\r\n",
    "line-ends-alone": b"\r\n\r\n",
}


@pytest.mark.parametrize("kind", STARTS)
async def test_whoever_does_not_come_to_the_end_of_the_headers_is_cut_off(stranger: Stranger, kind: str) -> None:
    await stranger.is_refused(STARTS[kind], status=0, seconds=30)


@pytest.mark.parametrize("kind", ["byte-by-byte", "header-by-header", "line-end-by-line-end"])
async def test_a_slow_loris_in_the_headers_is_cut_off(stranger: Stranger, kind: str) -> None:
    start, drip = {
        "byte-by-byte": (b"POST / HTTP/1.1\r\nhost: x\r\nx: ", b"a"),
        "header-by-header": (b"POST / HTTP/1.1\r\nhost: x\r\n", b"x: y\r\n"),
        "line-end-by-line-end": (b"", b"\r\n"),
    }[kind]
    assert await drips(stranger, start, drip) == b""
    await stranger.finds_it_alive()


@pytest.mark.parametrize("kind", ["length", "chunks", "chunk-extension", "trailers"])
async def test_a_slow_loris_in_the_body_is_told_408_and_cut_off(stranger: Stranger, kind: str) -> None:
    good = Good.useapi()
    chunked = head_of(good, b"transfer-encoding: chunked")
    start, drip = {
        "length": (head_of(good), b"x"),
        "chunks": (chunked, b"1\r\nx\r\n"),
        "chunk-extension": (chunked + b"1;", b"x"),
        "trailers": (chunked + b"2\r\n{}\r\n0\r\n", b"x: y\r\n"),
    }[kind]
    before = stranger.kept()
    (reply,) = replies(await drips(stranger, start, drip))
    assert reply.status == 408
    assert stranger.kept() == before
    await stranger.finds_it_alive()
    stranger.hears_nothing(reply.body, [good.token])


async def drips(stranger: Stranger, start: bytes, drip: bytes) -> bytes:
    """What is said to a start and a drip every 50 ms, until cut off; fails when that is not within 30 s."""
    async with connected(stranger.served.port) as (reader, writer), asyncio.timeout(30):
        hearing = asyncio.create_task(heard(reader, quiet=30))
        writer.write(start)
        while not hearing.done():
            await asyncio.sleep(0.05)
            writer.write(drip)
        return await hearing


async def test_a_body_that_never_comes_is_told_408(stranger: Stranger) -> None:
    good = Good.fal(stranger.served)
    (reply,) = await stranger.is_refused(head_of(good), good.body, status=408, hides=(good.token,), seconds=30)
    assert not reply.body.startswith(b"{")


@pytest.mark.parametrize("kind", ["in-the-headers", "in-the-body", "before-the-answer"])
async def test_whoever_hangs_up_leaves_nothing_behind_but_a_whole_callback(stranger: Stranger, kind: str) -> None:
    good = Good.useapi()
    raw = {
        "in-the-headers": good.spoilt()[:60],
        "in-the-body": head_of(good) + good.body,
        "before-the-answer": good.spoilt(),
    }
    before = stranger.kept()
    for _ in range(5):
        async with connected(stranger.served.port) as (_, writer):
            writer.write(raw[kind])
            await writer.drain()
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    after = stranger.kept()
    if kind != "before-the-answer":
        assert after == before
    else:
        assert len(after["jobs"]) <= len(before["jobs"]) + 1
    await stranger.finds_it_alive()
    stranger.hears_nothing(b"", [good.token])


async def test_a_hundred_who_wait_are_in_nobodys_way(stranger: Stranger) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", stranger.served.port) for _ in range(100)]
    try:
        for number, (_, writer) in enumerate(silent):
            writer.write((b"", b"POST", head_of(Good.useapi()))[number % 3])
        async with asyncio.timeout(30):
            for _ in range(10):
                await stranger.finds_it_alive()
    finally:
        for _, writer in silent:
            writer.transport.abort()
