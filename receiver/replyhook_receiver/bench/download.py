"""How fast a video comes to disk: checked, hashed and synced, beside a bare httpx stream into a file."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import httpx
import msgspec

from replyhook_receiver.net import Door
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.work.fetching import Fetcher
from replyhook_receiver.work.receiving import Bounds

WANTED_RATIO = 0.8
_LOOPBACK = ("127.0.0.0/8",)
_MIB = 1024 * 1024


class DownloadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, and where."""

    folder: Path
    rounds: int
    mebibytes: int


class DownloadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The medians over all rounds, in MiB a second; the ratios are those of the rounds' own.

    ``bare`` writes what comes into a file and is done; ``bare_synced`` also waits for the disk, as ours does.
    """

    bare: float
    bare_synced: float
    ours: float
    ratio: float
    ratio_to_synced: float
    added_memory_mib: float
    rounds: int
    mebibytes: int

    @property
    def met(self) -> bool:
        """Whether the aim is reached."""
        return self.ratio >= WANTED_RATIO

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


async def run_download(options: DownloadOptions, *, say: Callable[[str], None]) -> DownloadResult:
    """Run all cases in turn, round by round, after one that warms up."""
    speeds: dict[str, list[float]] = {"bare": [], "bare_synced": [], "ours": []}
    before = _peak_memory_mib()
    async with a_media_server(options.mebibytes * _MIB) as url, Door(allowed_networks=_LOOPBACK) as door:
        fetcher, storage = a_fetcher(door, options.folder, options.mebibytes * _MIB)
        cases: dict[str, Callable[[], Awaitable[None]]] = {
            "ours": lambda: ours(fetcher, storage, url),
            "bare": lambda: _bare(url, options.folder / "bare", synced=False),
            "bare_synced": lambda: _bare(url, options.folder / "bare", synced=True),
        }
        await cases["ours"]()
        added = _peak_memory_mib() - before
        for number in range(options.rounds):
            for name, run in cases.items():
                began = time.perf_counter()
                await run()
                speeds[name].append(options.mebibytes / (time.perf_counter() - began))
                await asyncio.to_thread(os.sync)  # what one case left to be written is not the next one's burden
            say(f"round {number + 1}: " + ", ".join(f"{name} {each[-1]:,.0f} MiB/s" for name, each in speeds.items()))
    return DownloadResult(
        **{name: round(median(each), 1) for name, each in speeds.items()},
        ratio=_ratio(speeds["ours"], speeds["bare"]),
        ratio_to_synced=_ratio(speeds["ours"], speeds["bare_synced"]),
        added_memory_mib=round(added, 1),
        rounds=options.rounds,
        mebibytes=options.mebibytes,
    )


def a_fetcher(door: Door, folder: Path, size: int) -> tuple[Fetcher, LocalStorage]:
    """What the receiver fetches with."""
    storage = LocalStorage(folder / "videos")
    return Fetcher(door=door, storage=storage, bounds=Bounds(max_bytes=size)), storage


async def ours(fetcher: Fetcher, storage: LocalStorage, url: str) -> None:
    """One download as the receiver makes it, up to its being under its name; the look inside is not in it."""
    async with storage.incoming("one.mp4", resume=True) as part:
        await fetcher.fetch(url, part, lambda _: True)
        await part.keep()


@asynccontextmanager
async def a_media_server(size: int) -> AsyncIterator[str]:
    """A media host with one file of ``size`` bytes; the file's address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "replyhook_receiver.bench.media_server",
        str(size),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stdout is not None  # noqa: S101
    try:
        port = int(await process.stdout.readline())
        yield f"http://127.0.0.1:{port}/one.mp4"
    finally:
        process.stdin.close()
        await process.wait()


async def _bare(url: str, path: Path, *, synced: bool) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", url) as response:
        with path.open("wb") as file:
            async for chunk in response.aiter_bytes():
                file.write(chunk)
            if synced:
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())


def _ratio(ours: list[float], others: list[float]) -> float:
    return round(median(own / other for own, other in zip(ours, others, strict=True)), 3)


def _peak_memory_mib() -> float:
    """The most memory this process has had (VmHWM), 0 where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else 0.0
