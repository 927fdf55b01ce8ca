"""A receiver as it really runs, `replyhook serve` in a process of its own, for benches to talk to."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from replyhook_receiver.bench.traffic import FAL_USER, REPLY_KEY

API_KEY = "rhk_bench-0123456789-0123456789"
SECRET = "whsec_YmVuY2gtc2VjcmV0LTAxMjM0NTY3ODktMDEyMzQ1Njc="  # noqa: S105 - for a receiver that lives for a minute
_START_SECONDS = 60
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReceiver:
    """A receiver that runs."""

    port: int
    pid: int
    auth: dict[str, str] = field(default_factory=lambda: {"authorization": f"Bearer {API_KEY}"}, repr=False)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def resident_bytes(self) -> int:
        """How much memory it holds now."""
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            found = re.search(r"^VmRSS:\s+(\d+) kB", status.read_text(), re.MULTILINE)
            kibibytes = int(found.group(1)) if found else 0
        else:
            told = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], capture_output=True, text=True, check=True)  # noqa: S603, S607 - our own arguments
            kibibytes = int(told.stdout)
        return kibibytes * 1024


@asynccontextmanager
async def running_receiver(folder: Path, *, jwks_url: str = "") -> AsyncIterator[BenchReceiver]:
    """Start one with its data in ``folder``; it ends with the context. ``RuntimeError`` when it does not start."""
    config = _written(folder, jwks_url)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver", "serve", "--port", "0", "--config", str(config)),
        env=environ,
        stderr=asyncio.subprocess.PIPE,
    )
    draining: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(_START_SECONDS):
            port = await _port(process)
        draining = asyncio.create_task(_drain(process))
        await _until_ready(port)
        yield BenchReceiver(port=port, pid=process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if draining is not None:
            await draining


def _written(folder: Path, jwks_url: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "replyhook.toml"
    config.write_text(_settings(folder / "data", jwks_url), encoding="utf-8")
    return config


def _settings(data_dir: Path, jwks_url: str) -> str:
    given: dict[str, object] = {
        "data_dir": str(data_dir),
        "signing_keys": [REPLY_KEY],
        "api_keys": [API_KEY],
        "notification_secrets": [SECRET],
        "allowed_networks": ["127.0.0.0/8"],
        "log_level": "error",
        "requests_per_minute": 0,
    }
    fal: dict[str, object] = {"user_ids": [FAL_USER], "media_hosts": ["127.0.0.1"]}
    if jwks_url:
        fal["jwks_url"] = jwks_url
    sections: dict[str, dict[str, object]] = {
        "": given,
        "[providers.fal]": fal,
        "[providers.useapi]": {"media_hosts": ["127.0.0.1"]},
    }
    lines = []
    for heading, values in sections.items():
        lines += [heading, *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


async def _port(process: asyncio.subprocess.Process) -> int:
    words = b""
    while process.stderr is not None and (line := await process.stderr.readline()):
        found = re.search(rb"receiver on http://[^ ]*:(\d+) ", line)
        if found:
            return int(found.group(1))
        words += line
    raise RuntimeError(f"the receiver did not start: {words.decode(errors='replace')[-500:]}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    while process.stderr is not None and (line := await process.stderr.readline()):
        if b"keys that nobody" not in line:
            sys.stderr.write(line.decode(errors="replace"))


async def _until_ready(port: int) -> None:
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise RuntimeError("the receiver does not listen")
