"""`python -m replyhook_receiver.bench.engine_process ENGINE WHAT CORE`: one worker, or one that makes work.

It says when it is ready, begins at the first line on its standard input, and answers each further one with its counts.
"""

import asyncio
import json
import os
import signal
import sys
import time

import uvloop

from replyhook_receiver.bench.cases import DATABASE
from replyhook_receiver.serving import configure_logging, keep_garbage_collection_rare


def _say(content: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")
    sys.stdout.flush()


async def _run(engine: str, url: str, what: str) -> None:
    if engine == "ours":
        from replyhook_receiver.bench import engine_ours as chosen
    else:
        from replyhook_receiver.bench import engine_pgqueuer as chosen  # type: ignore[no-redef] # the same functions

    loop = asyncio.get_running_loop()

    async def begin() -> None:
        keep_garbage_collection_rare()
        _say({"cpu_seconds": time.process_time()})
        await loop.run_in_executor(None, sys.stdin.readline)

    async def answer() -> None:
        while await loop.run_in_executor(None, sys.stdin.readline):
            _say({"cpu_seconds": time.process_time()})
        os.kill(os.getpid(), signal.SIGKILL)  # whoever asked has gone

    answering: asyncio.Task[None] | None = None

    async def begin_and_answer() -> None:
        nonlocal answering
        await begin()
        answering = asyncio.create_task(answer())

    try:
        if what == "accept":
            await chosen.accept(url, begin_and_answer)
        else:
            await chosen.work(url, what, begin_and_answer)
    finally:
        os._exit(1)  # whatever ended it: a thread still waits for the next question


if __name__ == "__main__":
    configure_logging("critical")
    engine, what, core = sys.argv[1:]
    if core != "any":
        os.sched_setaffinity(0, {int(core)})
    uvloop.run(_run(engine, os.environ[DATABASE], what))
