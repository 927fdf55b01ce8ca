"""SIGTERM during load: every request that got in is answered and kept, and the end comes within the grace time."""

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import httpx

from replyhook.ids import new_id
from replyhook_receiver.bounds import FIRST_CALL_SECONDS
from replyhook_receiver.serving import SHUTDOWN_SECONDS
from tests.faults.evidence import Evidence
from tests.faults.harness import AUTH, Server, a_server
from tests.faults.providers import TOKENS, Providers, Report
from tests.receiver.support import until

PROVIDERS_AT_ONCE = 16
SLOW_SENDERS = 6


async def test_what_got_in_before_the_end_is_answered_and_kept(tmp_path: Path, providers: Providers) -> None:
    async with a_server(tmp_path, **providers.settings) as server, server.client() as client:
        senders = [asyncio.create_task(providers.keep_sending(client)) for _ in range(PROVIDERS_AT_ONCE)]
        slow = [SlowSender(server) for _ in range(SLOW_SENDERS)]
        await until(lambda: providers.ledger.acknowledged.total() > 200)
        await asyncio.gather(*(sender.is_let_in() for sender in slow))  # from here on their time runs
        listener = asyncio.create_task(listen(server))
        ending = asyncio.create_task(server.end())
        answers = await asyncio.gather(*(sender.finish(seconds=1.5) for sender in slow))
        code, seconds = await ending
        await asyncio.gather(*senders)
        await listener
    assert answers == [b"ok"] * SLOW_SENDERS
    assert code == 0
    assert seconds < SHUTDOWN_SECONDS
    for sender in slow:
        providers.ledger.acknowledged[sender.report] += 1
    assert providers.ledger.turned_away.total() == 0
    assert len(providers.ledger.unanswered) <= PROVIDERS_AT_ONCE  # one at most each: sent as the connection was closed
    Evidence.read(tmp_path).assert_keeps(providers.ledger)


async def test_a_listener_on_the_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        listening = asyncio.Event()
        listener = asyncio.create_task(listen(server, listening))
        async with asyncio.timeout(60):
            await listening.wait()
        code, seconds = await server.end()
        await listener
    assert (code, seconds < SHUTDOWN_SECONDS - 1) == (0, True)


async def test_who_never_finishes_is_not_waited_for_beyond_the_grace_time(tmp_path: Path) -> None:
    async with a_server(tmp_path) as server:
        sender = SlowSender(server)
        await sender.is_let_in()
        code, seconds = await server.end()
    assert code == 0
    assert seconds < SHUTDOWN_SECONDS + 10
    assert b" 200 " not in await sender.heard()
    assert Evidence.read(tmp_path).callbacks.total() == 0


async def test_who_had_connected_before_the_end_and_speaks_only_then_is_still_answered(tmp_path: Path) -> None:
    report = Report(job=new_id("job"), provider="useapi", status="running", progress=7)
    path = f"/callbacks/useapi/{TOKENS.mint(provider='useapi', job_id=report.job, now=datetime.now(UTC))}"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(report.body)}\r\n\r\n".encode()
    async with a_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        assert await server.is_ready(), "asked on a later connection: this one has been let in"
        ending = asyncio.create_task(server.end())
        await asyncio.sleep(FIRST_CALL_SECONDS / 2)
        writer.write(head + report.body)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        code, seconds = await ending
    assert (answer.startswith(b"HTTP/1.1 200"), answer.endswith(b"ok"), b"connection: close" in answer) == (True,) * 3
    assert (code, seconds < SHUTDOWN_SECONDS) == (0, True)
    assert Evidence.read(tmp_path).callbacks.total() == 1


class SlowSender:
    """Sends a callback's head, waits until it is let in (`100 Continue`), and its body a piece at a time."""

    def __init__(self, server: Server) -> None:
        self.report = Report(job=new_id("job"), provider="useapi", status="running", progress=7)
        self._port = int(server.url.rpartition(":")[2])

    async def is_let_in(self) -> None:
        token = TOKENS.mint(provider="useapi", job_id=self.report.job, now=datetime.now(UTC))
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST /callbacks/useapi/{token} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        self._writer.write(f"{head}content-length: {len(self.report.body)}\r\n\r\n".encode())
        assert (await self._reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")

    async def finish(self, *, seconds: float) -> bytes:
        """Send the body over so long; the body of the answer."""
        body = self.report.body
        for start in range(0, len(body), 10):
            self._writer.write(body[start : start + 10])
            await asyncio.sleep(seconds / (len(body) / 10))
        return (await self.heard()).partition(b"\r\n\r\n")[2]

    async def heard(self) -> bytes:
        """Everything until the connection is closed."""
        async with asyncio.timeout(SHUTDOWN_SECONDS + 5):
            try:
                return await self._reader.read()
            finally:
                self._writer.close()


async def listen(server: Server, listening: asyncio.Event | None = None) -> None:
    """Read the live stream until it ends."""
    async with server.client() as client:
        with contextlib.suppress(httpx.TransportError):
            async with client.stream("GET", "/v1/stream", headers=AUTH) as response:
                assert response.status_code == 200
                if listening is not None:
                    listening.set()
                async for _ in response.aiter_bytes():
                    pass
