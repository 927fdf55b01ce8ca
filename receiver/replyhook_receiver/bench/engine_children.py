"""Worker processes of `replyhook bench engine`: started, asked and killed."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from replyhook_receiver.bench.cases import DATABASE

_START_SECONDS = 60
PATIENCE_SECONDS = 300.0


class Child:
    """A running ``bench.engine_process``, ready to begin."""

    def __init__(self, process: asyncio.subprocess.Process, cpu_seconds: float) -> None:
        self._process = process
        self._cpu_seconds_at_start = cpu_seconds

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    def begin(self) -> None:
        """Let it begin."""
        self._tell()

    def kill(self) -> None:
        """As `kill -9` does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    async def cpu_seconds(self) -> float:
        """What it has used since it was ready."""
        self._tell()
        answer = await _read(self._process)
        return float(answer["cpu_seconds"]) - self._cpu_seconds_at_start

    def _tell(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was started with one
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def child(engine: str, url: str, what: str, *, core: int | None = None) -> AsyncIterator[Child]:
    """Start one; it is killed when the context ends."""
    where = "any" if core is None else str(core)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver.bench.engine_process", engine, what, where),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, DATABASE: url},  # not an argument: those can be read by everybody here
    )
    started = Child(process, 0.0)
    try:
        async with asyncio.timeout(_START_SECONDS):
            ready = await _read(process)
        yield Child(process, float(ready["cpu_seconds"]))
    finally:
        started.kill()
        await process.wait()


async def until(holds: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until it holds; the seconds that it took. Raises ``TimeoutError``."""
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - what is waited for is in a database
            await asyncio.sleep(0.05)
    return time.perf_counter() - began


async def _read(process: asyncio.subprocess.Process) -> dict[str, Any]:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a worker ended before its time; its words are above")
    answer: dict[str, Any] = json.loads(line)
    return answer
