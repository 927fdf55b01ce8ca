"""`replyhook bench pruning` throws rows away beside callbacks, and keeps every one of these."""

import asyncio
import json
import sys


async def test_rows_go_while_callbacks_come_and_none_of_these_is_lost() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver", "bench", "pruning", "--quick", "--rate", "100", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said, told = await process.communicate()
    assert process.returncode == 0, told.decode()
    found = json.loads(said)
    assert found["lost"] == 0
    assert found["alone"]["callbacks"] == found["beside"]["callbacks"] == 150
    assert sum(found["thrown_away"].values()) > 0
    assert 0 < found["beside"]["p50_ms"] <= found["beside"]["p99_ms"] <= found["beside"]["max_ms"]
