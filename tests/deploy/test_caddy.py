"""Caddy with our Caddyfile in front of real receivers: restarts beneath it, what it logs, and how live events pass."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from replyhook.ids import new_id
from replyhook_receiver.serving import free_socket
from tests.deploy.tools import DEPLOY, caddy, caddy_that_retries_posts, said
from tests.faults.evidence import Evidence
from tests.faults.harness import AUTH, Server, a_server
from tests.faults.providers import Providers, Report
from tests.faults.test_socket_activation import activated, listening
from tests.receiver.support import until

CADDYFILE = DEPLOY / "Caddyfile"
PATIENCE_SECONDS = 15
"""How long our Caddyfile lets a callback wait for a receiver."""
_LONG_SECONDS = 180
"""A machine that is busy with other tests starts a receiver late: what is tried then is not how fast it starts."""
SECRET_PARTS = ["/callbacks/useapi/not-a-token-but-secret", "/videos/secret-link", "/v1/stream?token=secret"]


def test_caddy_takes_the_file_and_would_write_it_the_same_way() -> None:
    said(caddy(), "validate", "--config", str(CADDYFILE), "--adapter", "caddyfile")
    assert said(caddy(), "fmt", str(CADDYFILE)) == CADDYFILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("socket_is", ["held", "closed"])
async def test_a_restart_beneath_caddy_fails_no_callback(tmp_path: Path, providers: Providers, socket_is: str) -> None:
    if socket_is == "closed":
        caddy_that_retries_posts()
    with listening() as held:
        port = held.getsockname()[1]
        if socket_is == "closed":
            held.close()

        def started() -> AbstractAsyncContextManager[Server]:
            if socket_is == "held":
                return activated(held, tmp_path, **providers.settings)
            return a_server(tmp_path, port=port, **providers.settings)

        async with (
            in_front_of(f"127.0.0.1:{port}", patience=_LONG_SECONDS) as (url, _),
            httpx.AsyncClient(base_url=url, timeout=2 * _LONG_SECONDS) as client,
            AsyncExitStack() as until_all_are_answered,
            asyncio.TaskGroup() as callers,
        ):
            for _ in range(4):
                callers.create_task(keep_calling(client, providers))
            for _ in range(2):
                async with started() as server:
                    enough = providers.ledger.acknowledged.total() + 150
                    await until(lambda enough=enough: providers.ledger.acknowledged.total() > enough, seconds=60)
                    await server.end()
            await until_all_are_answered.enter_async_context(started())
            providers.stopping = True
    assert (providers.ledger.unanswered, providers.ledger.turned_away.total()) == ([], 0)
    Evidence.read(tmp_path).assert_keeps(providers.ledger)


async def test_of_paths_which_hold_tokens_caddy_logs_the_first_part_alone() -> None:
    async with in_front_of(f"127.0.0.1:{_free_port()}", patience=1) as (url, log), httpx.AsyncClient() as client:
        named = AUTH | {"referer": "https://app.example.com/secret"}
        answers = [await client.post(url + path, headers=named, timeout=30) for path in SECRET_PARTS]
        await until(lambda: sum("http.log.access" in line for line in log) == len(SECRET_PARTS))
    assert {answer.status_code for answer in answers} <= {502, 503}
    assert {answer.headers["retry-after"] for answer in answers} == {"5"}
    assert '"uri":"/callbacks"' in "".join(log)
    assert "secret" not in "".join(log)
    assert AUTH["authorization"] not in "".join(log)


async def test_a_whole_url_in_place_of_a_path_is_logged_no_further_either() -> None:
    async with in_front_of(f"127.0.0.1:{_free_port()}", patience=1) as (url, log):
        for whole in (f"{url}/callbacks/fal/secret", "HTTP://me:secret@127.0.0.1/videos/secret", "x://y?secret"):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            host = url.removeprefix("http://")
            writer.write(f"GET {whole} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            await asyncio.wait_for(reader.read(), 30)
            writer.close()
        await until(lambda: '"uri":"/callbacks"' in "".join(log) and '"uri":"/videos"' in "".join(log))
    assert "secret" not in "".join(log)


async def test_live_events_pass_as_they_come(tmp_path: Path, providers: Providers) -> None:
    async with (
        a_server(tmp_path, **providers.settings) as server,
        in_front_of(server.url.removeprefix("http://")) as (url, _),
        httpx.AsyncClient(base_url=url, timeout=10) as client,
        client.stream("GET", "/v1/stream", headers=AUTH) as stream,
    ):
        lines = stream.aiter_lines()
        job = new_id("job")
        assert await providers.send(client, Report(job=job, provider="useapi", status="running", progress=20)) == 200
        async with asyncio.timeout(10):
            assert [line async for line in _until(lines, job)]


async def _until(lines: AsyncIterator[str], part: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if part in line:
            return


async def keep_calling(client: httpx.AsyncClient, providers: Providers) -> None:
    """One callback after the other, over the connections that are there, each as a provider sends it."""
    while not providers.stopping:
        await providers.send(client, Report(job=new_id("job"), provider="useapi", status="running", progress=20))


@asynccontextmanager
async def in_front_of(*upstreams: str, patience: int = PATIENCE_SECONDS) -> AsyncIterator[tuple[str, list[str]]]:
    """Caddy as compose.yaml starts it, without TLS and its own interface: its URL, and what it logs.

    ``patience`` is in seconds, in place of what the file has.
    """
    url = f"http://127.0.0.1:{_free_port()}"
    env = {"REPLYHOOK_DOMAIN": url, "REPLYHOOK_UPSTREAMS": " ".join(upstreams), "HOME": "/nonexistent"}
    adapted = json.loads(said(caddy(), "adapt", "--config", str(CADDYFILE), "--adapter", "caddyfile", env=env))
    adapted["admin"] = {"disabled": True, "config": {"persist": False}}
    config = json.dumps(adapted)
    as_shipped = f'"try_duration": {PATIENCE_SECONDS}000000000'
    assert as_shipped in config
    config = config.replace(as_shipped, f'"try_duration": {patience}000000000')
    process = await asyncio.create_subprocess_exec(
        caddy(), "run", "--config", "-", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env
    )
    assert process.stdin is not None
    process.stdin.write(config.encode())
    process.stdin.close()
    log: list[str] = []
    reading = asyncio.create_task(_read(process.stderr, log))
    try:
        await until(lambda: any("serving initial configuration" in line for line in log), seconds=60)
        yield url, log
    finally:
        process.terminate()
        await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader | None, log: list[str]) -> None:
    assert stream is not None
    while line := (await stream.readline()).decode(errors="replace"):
        log.append(line)


def _free_port() -> int:
    with free_socket() as bound:
        return int(bound.getsockname()[1])
