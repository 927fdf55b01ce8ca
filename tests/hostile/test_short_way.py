"""Whichever way the server brings a callback, the answer is the same to the byte, and the same is kept."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from replyhook.ids import new_id
from replyhook_receiver.short_way import Answer
from replyhook_receiver.web.callbacks import MAX_HEADERS
from tests.hostile.stranger import Good, Served, Stranger, a_served_receiver
from tests.hostile.wire import exchange, request
from tests.receiver.support import callback_path, until, useapi_body

MAX_BODY = 20_000
PLAIN = [("content-type", b"application/json")]


class Counting:
    """An application's callbacks, with how many were taken the short way."""

    def __init__(self, callbacks: Any) -> None:
        self.callbacks = callbacks
        self.taken = 0

    def take(self, scope: Any, body: bytes, answered: Callable[[Answer], None]) -> bool:
        is_taken: bool = self.callbacks.take(scope, body, answered)
        self.taken += is_taken
        return is_taken


def useapi(**more: Any) -> bytes:
    job = new_id("job")
    return request(callback_path("useapi", job), useapi_body(job, **more), PLAIN, close=False)


def with_headers(*headers: tuple[str, bytes], close: bool = False, body: bytes | None = None) -> bytes:
    job = new_id("job")
    body = useapi_body(job) if body is None else body
    return request(callback_path("useapi", job), body, [*PLAIN, *headers], close=close)


def to(target: str | bytes, *, method: str = "POST") -> bytes:
    return request(target, b"{}", PLAIN, close=False, method=method)


def changed(old: bytes, new: bytes) -> bytes:
    return useapi().replace(old, new, 1)


def in_two(whole: bytes) -> list[bytes]:
    return [whole[:-20], whole[-20:]]


SHORT: dict[str, Callable[[Served], list[bytes]]] = {
    "kept": lambda _: [useapi()],
    "kept, and the connection closed": lambda _: [with_headers(close=True)],
    "signed": lambda served: [Good.fal(served).spoilt()],
    "for an account": lambda _: [Good.pixverse().spoilt()],
    "a wrong token": lambda _: [to("/callbacks/useapi/nobody.knows")],
    "no token": lambda _: [to("/callbacks/useapi")],
    "a token with slashes": lambda _: [to("/callbacks/useapi/a/b//c")],
    "dots": lambda _: [to("/callbacks/../callbacks/useapi/x")],
    "an unknown provider": lambda _: [to("/callbacks/nobody/x")],
    "no provider": lambda _: [to("/callbacks/")],
    "unreadable": lambda _: [with_headers(body=b"\xff{")],
    "empty": lambda _: [with_headers(body=b"")],
    "too large": lambda _: [with_headers(body=b"x" * (MAX_BODY + 1))],
    "as large as may be": lambda _: [with_headers(body=b"x" * MAX_BODY)],
    "too many headers": lambda _: [with_headers(*((f"x-{n}", b"1") for n in range(MAX_HEADERS)))],
    "strange headers": lambda _: [with_headers(("cookie", b"a=b"), ("x-two", b"\xff\t"), ("x-one", b""))],
}
LONG: dict[str, Callable[[Served], list[bytes]]] = {
    "signed by an unknown key": lambda served: [_of_another(Good.fal(served))],
    "another method": lambda _: [to("/callbacks/useapi/x", method="GET")],
    "chunked": lambda _: [changed(b"content-length", b"transfer-encoding: chunked\r\nx-length")],
    "a length of two kinds": lambda _: [with_headers(("transfer-encoding", b"chunked"))],
    "expecting to be asked": lambda _: [with_headers(("expect", b"100-continue"))],
    "HTTP/1.0": lambda _: [changed(b" HTTP/1.1", b" HTTP/1.0")],
    "an escaped path": lambda _: [changed(b"/useapi/", b"/%75seapi/")],
    "a query": lambda _: [changed(b" HTTP/1.1", b"?a=b HTTP/1.1")],
    "an absolute target": lambda _: [changed(b"POST /", b"POST http://hooks.example.com/")],
    "no HTTP": lambda _: [b"callback\r\n\r\n"],
}
MIXED: dict[str, Callable[[Served], list[bytes]]] = {
    "in two pieces": lambda _: in_two(useapi()),
    "an offer to upgrade": lambda _: [with_headers(("upgrade", b"h2c"), ("connection", b"upgrade"))],
    "two at once": lambda _: [useapi() + useapi()],
    "two, the first one closing": lambda _: [with_headers(close=True) + useapi()],
    "three, one of them wrong": lambda _: [useapi() + to("/callbacks/useapi/x") + useapi()],
    "one after another": lambda _: [useapi(), useapi(), to("/healthz", method="GET"), useapi()],
    "one and a half, and the rest": lambda _: in_two(useapi() + useapi()),
    "the other way first": lambda _: [to("/healthz", method="GET") + useapi(), useapi()],
    "no HTTP behind it": lambda _: [useapi() + b"callback\r\n\r\n"],
}


def _of_another(good: Good) -> bytes:
    return good.spoilt(good.changed("x-fal-webhook-signature", b"ab" * 64))


@asynccontextmanager
async def both_ways(folder: Path, **more: Any) -> AsyncIterator[tuple[Served, Counting]]:
    async with a_served_receiver(folder, max_callback_bytes=MAX_BODY, **more) as served:
        counting = Counting(served.app.state.callbacks)
        yield served, counting


@pytest.fixture(scope="module")
async def ways(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Served, Counting]]:
    async with both_ways(tmp_path_factory.mktemp("ways")) as made:
        yield made


async def said(stranger: Stranger, callbacks: Counting | None, pieces: list[bytes]) -> tuple[bytes, dict[str, int]]:
    served, before = stranger.served, stranger.kept()
    served.app.state.callbacks = callbacks
    try:
        raw = await exchange(served.port, *pieces)
        if any(b"callback\r\n\r\n" in piece and piece.startswith(b"POST") for piece in pieces):
            # What is no HTTP closes the connection before the callback in front of it is committed.
            await until(lambda: stranger.kept()["callbacks"][0] > before["callbacks"][0])
    finally:
        served.app.state.callbacks = None
    after = stranger.kept()
    new = {
        name: after[name][0] - before[name][0] for name in ("callbacks", "events", "nonces")
    }  # no worker changes them
    return re.sub(rb"date: [^\r]+", b"date: x", raw), new | {"jobs": len(after["jobs"]) - len(before["jobs"])}


@pytest.mark.parametrize("name", [*SHORT, *LONG, *MIXED])
async def test_both_ways_answer_the_same_and_keep_the_same(
    name: str, ways: tuple[Served, Counting], log: pytest.LogCaptureFixture
) -> None:
    served, counting = ways
    stranger = Stranger(served=served, log=log)
    make = {**SHORT, **LONG, **MIXED}[name]
    counting.taken = 0
    short = await said(stranger, counting, make(served))
    taken = counting.taken
    long = await said(stranger, None, make(served))
    assert short == long
    assert short[0].startswith(b"HTTP/1.1 ") or name == "no HTTP behind it"
    if name not in MIXED:
        assert taken == (name in SHORT)


async def test_both_ways_turn_the_same_away(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    async with both_ways(tmp_path, max_held_bytes=1024, refusals_per_minute=2) as (served, counting):
        stranger = Stranger(served=served, log=log)
        large, wrong = [useapi(note="x" * 2000)], [to("/callbacks/useapi/x")]
        for status, pieces in ((b"503", large), (b"401", wrong), (b"429", wrong)):
            short, long = await said(stranger, counting, pieces), await said(stranger, None, pieces)
            assert short[0].startswith(b"HTTP/1.1 " + status)
            assert [re.sub(rb"retry-after: \d+", b"", each[0]) for each in (short, long)]
        await served.app.state.store.close()
        short, long = await said(stranger, counting, [useapi()]), await said(stranger, None, [useapi()])
        assert short == long
        assert short[0].startswith(b"HTTP/1.1 503")
    assert counting.taken == 4
