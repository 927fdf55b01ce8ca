"""What is compared: each case's server process, its requests, and what its rounds came to."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replyhook_receiver.bench.load import LoadResult, run_load

MakeRequests = Callable[[int], list[bytes]]

_START_SECONDS = 60
DATABASE = "REPLYHOOK_BENCH_DATABASE"


class ServerProcess:
    """A running ``bench.server``."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    async def counts(self) -> dict[str, Any]:
        """What it has counted so far: ``cpu_seconds``, and what its store has done."""
        return await _ask(self._process)


@asynccontextmanager
async def server_process(
    case: str, folder: Path, *, core: int | None, jwks_url: str, database: str = ""
) -> AsyncIterator[ServerProcess]:
    """Start a case's server on ``core``; it ends with the context."""
    where = "any" if core is None else str(core)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver.bench", case, str(folder), where, jwks_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, DATABASE: database},  # not an argument: those can be read by everybody here
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            started = await _read(process)
        yield ServerProcess(process, started["port"])
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ask(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdin is not None:
        process.stdin.write(b"\n")
    return await _read(process)


async def _read(process: asyncio.subprocess.Process) -> dict[str, Any]:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a bench server ended before its time; its words are above")
    answer: dict[str, Any] = json.loads(line)
    return answer


@dataclass(kw_only=True)
class Case:
    """One thing that is measured. ``make`` gives so many new requests to it."""

    name: str
    make: MakeRequests
    server: ServerProcess
    rounds: list[LoadResult] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    async def warm_up(self, requests: int, connections: int) -> None:
        """Let it load what it loads at the first requests, which count for nothing."""
        await run_load(self.server.port, self.make(requests), connections=connections)
        self.before = await self.server.counts()

    async def run(self, requests: int, connections: int) -> None:
        """One round."""
        ready = self.make(requests)
        cpu = (await self.server.counts())["cpu_seconds"]
        self.rounds.append(await run_load(self.server.port, ready, connections=connections))
        self.cpu_seconds.append((await self.server.counts())["cpu_seconds"] - cpu)

    async def end(self) -> None:
        """Note what it has counted in all."""
        self.after = await self.server.counts()
