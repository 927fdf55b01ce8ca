"""A full disk: 503 while it lasts, nothing acknowledged that is not kept, and work again when space returns."""

import asyncio
import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path

import pytest

from replyhook.ids import new_id
from tests.faults.evidence import Evidence
from tests.faults.harness import Server, a_server
from tests.faults.providers import Providers, Report
from tests.receiver.support import until

PROVIDERS_AT_ONCE = 16


async def test_files_that_may_not_grow_turn_callbacks_away_until_they_may(tmp_path: Path, providers: Providers) -> None:
    ledger = providers.ledger
    async with a_server(tmp_path, **providers.settings) as server, server.client() as client:
        senders = [asyncio.create_task(providers.keep_sending(client)) for _ in range(PROVIDERS_AT_ONCE)]
        await until(lambda: ledger.acknowledged.total() > 200)
        limit_files(server, (tmp_path / "replyhook.db-wal").stat().st_size + 20_000)  # it ends within a batch
        await until(lambda: ledger.turned_away.total() > 0, seconds=60)
        limit_files(server, 0)
        await until(lambda: ledger.turned_away.total() > 20)
        before, turned_away = ledger.acknowledged.total(), ledger.turned_away.total()
        await until(lambda: ledger.turned_away.total() > turned_away + 200)
        assert ledger.acknowledged.total() == before
        providers.stopping = True
        await asyncio.gather(*senders)
        await is_unready_then_ready_again_without_traffic(server)
        await providers.send_again(client)
        await server.end()
    Evidence.read(tmp_path).assert_keeps(ledger)


async def test_a_file_system_without_space_turns_callbacks_away_until_there_is_some(
    small_disk: Path, providers: Providers
) -> None:
    reports = [Report(job=new_id("job"), provider="useapi", status="running", progress=step) for step in range(40)]
    async with a_server(small_disk / "data", **providers.settings) as server, server.client() as client:
        assert {await providers.send(client, report) for report in reports[:10]} == {200}
        fill(small_disk / "filler")
        answers = await asyncio.gather(*(providers.send(client, report) for report in reports))
        assert set(answers) == {503}
        status, found = await server.readiness()
        assert (status, found["store"]) == (503, False)
        (small_disk / "filler").unlink()
        await until(server.is_ready)
        await providers.send_again(client)
        await server.end()
    Evidence.read(small_disk / "data").assert_keeps(providers.ledger)
    assert len(providers.ledger.acknowledged) == len(reports)


async def is_unready_then_ready_again_without_traffic(server: Server) -> None:
    for _ in range(3):
        status, found = await server.readiness()
        assert (status, found["store"]) == (503, False)
        await asyncio.sleep(0.5)
    limit_files(server, resource.RLIM_INFINITY)
    await until(server.is_ready, seconds=60)


def limit_files(server: Server, size: int) -> None:
    """Let no file of the server grow beyond so many bytes."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, hard))


def fill(path: Path) -> None:
    """Write until nothing more goes in."""
    with path.open("wb", buffering=0) as filler:
        for size in (64 * 1024, 1024, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                write_for_ever(filler, b"x" * size)


def write_for_ever(file: RawIOBase, piece: bytes) -> None:
    while True:
        file.write(piece)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "replyhook-test", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode != 0:
        pytest.skip(f"a file system may not be mounted here: {done.stderr.strip()}")
    assert os.path.ismount(disk)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607 - where it is differs
