"""A receiver in a process of its own, as `replyhook serve` runs it: found ready, ended or killed by its own pid."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

API_KEY = "rhk_fault-0123456789-0123456789"
SIGNING_KEY = "fault-signing-0123456789-0123456789"
AUTH = {"authorization": f"Bearer {API_KEY}"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")} | {
    "REPLYHOOK_SIGNING_KEYS": SIGNING_KEY,
    "REPLYHOOK_API_KEYS": API_KEY,
    "REPLYHOOK_LOG_LEVEL": "warning",
    "REPLYHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "REPLYHOOK_PROVIDERS__FAL__MEDIA_HOSTS": "127.0.0.1",
    "REPLYHOOK_PROVIDERS__USEAPI__MEDIA_HOSTS": "127.0.0.1",
}
_LAUNCHER = Path(__file__).with_name("launcher.py")
_START_SECONDS = 90


@dataclass
class Server:
    """A running receiver. ``pid`` is its own, also where a tracer started it."""

    process: asyncio.subprocess.Process
    url: str = ""
    pid: int = 0
    log: list[str] = field(default_factory=list)

    def client(self) -> httpx.AsyncClient:
        """A client of it; no time-out of its own is shorter than what a test would call a fault."""
        # Shorter than a receiver keeps an idle connection: else it may be closed just as something is sent.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)
        return httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=30, limits=limits)

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """What `/readyz` says."""
        async with self.client() as client:
            response = await client.get("/readyz")
        return response.status_code, response.json()

    async def is_ready(self) -> bool:
        try:
            return (await self.readiness())[0] == 200
        except httpx.TransportError:
            return False

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self, *, seconds: float = 60) -> tuple[int | None, float]:
        """SIGTERM: the exit code, and how many seconds it took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(seconds):
            await self.process.wait()
        return self.process.returncode, time.monotonic() - started

    async def read_log(self) -> None:
        """Keep reading what it says, so that it never waits for us to."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode(errors="replace"):
            self.log.append(line)


@asynccontextmanager
async def a_server(
    data_dir: Path, *, changed: str | None = None, under: Sequence[str] = (), port: int = 0, **settings: str
) -> AsyncIterator[Server]:
    """A receiver on ``data_dir``; ``changed`` as the launcher can, ``under`` a tracer; killed at the end.

    On a free port, or on ``port``, where providers that were told it find it again.

    ``settings`` are its environment, by name without REPLYHOOK_.
    """
    program = [str(_LAUNCHER), changed] if changed else ["-m", "replyhook_receiver"]
    environment = ENVIRONMENT | {f"REPLYHOOK_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        *under, sys.executable, *program, "serve", "--port", str(port), "--data-dir", str(data_dir),
        env=environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    server = Server(process=process, pid=process.pid)
    reading = asyncio.create_task(server.read_log())
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not server.url:
                if found := re.search(r"http://127\.0\.0\.1:\d+", "".join(server.log)):
                    server.url = found[0]
                assert not reading.done(), "".join(server.log)
                await asyncio.sleep(0.01)
            if under:
                server.pid = _only_child(process.pid)
            while not await server.is_ready():
                assert process.returncode is None, "".join(server.log)
                await asyncio.sleep(0.02)
        yield server
    finally:
        if process.returncode is None:
            await server.kill()
        await reading


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
