"""`replyhook bench …` as its user runs it."""

import asyncio
import sys


async def run_bench(*arguments: str) -> tuple[int, str, str]:
    """Its exit code, and what it says on stdout and on stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver", "bench", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(300):
        said, told = await process.communicate()
    return process.returncode or 0, said.decode(), told.decode()
