"""`replyhook bench download` measures what it says; and a large video takes no large memory."""

import asyncio
import json
import sys
from typing import Any

import pytest

MOST_MEMORY_MIB = 40


async def bench(*options: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver", "bench", "download", "--json", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(300):
        said, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    found: dict[str, Any] = json.loads(said)
    return found


async def test_all_cases_are_measured_and_a_video_adds_little_memory(request: pytest.FixtureRequest) -> None:
    """In its long form with a video of 2 GiB."""
    size = 2048 if request.config.getoption("--long-faults") else 160
    found = await bench("--rounds", "1", "--mebibytes", str(size))
    assert (found["rounds"], found["mebibytes"]) == (1, size)
    assert min(found[name] for name in ("bare", "bare_synced", "ours", "ratio", "ratio_to_synced")) > 0
    assert 0 < found["added_memory_mib"] < MOST_MEMORY_MIB
