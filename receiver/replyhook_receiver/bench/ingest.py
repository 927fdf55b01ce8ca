"""`replyhook bench ingest`: the receiver beside a bare route and the hand-written way, interleaved in one run."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replyhook_receiver.bench.cases import Case, MakeRequests, server_process
from replyhook_receiver.bench.report import IngestResult, compare, summarise
from replyhook_receiver.bench.server import bench_settings
from replyhook_receiver.bench.steps import measure_fsync, measure_steps
from replyhook_receiver.bench.stored import register_jobs, store_callbacks
from replyhook_receiver.bench.traffic import Traffic
from replyhook_receiver.serving import free_socket, served

Say = Callable[[str], None]
WARM_UP = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How much to send. ``already_stored`` adds a case whose database holds so many callbacks before it begins."""

    folder: Path
    rounds: int = 5
    requests: int = 5_000
    connections: int = 64
    already_stored: int = 0

    @property
    def total(self) -> int:
        """How many requests one case gets."""
        return self.rounds * self.requests + WARM_UP


def has_handwritten() -> bool:
    """Whether the hand-written case's packages are installed."""
    return find_spec("fastapi") is not None and find_spec("sqlalchemy") is not None


async def run_ingest(options: IngestOptions, *, say: Say) -> IngestResult:
    """Start a server for each case, send each its share round by round, and compare."""
    traffic = Traffic()
    with _cores() as server_core:
        async with AsyncExitStack() as stack:
            jwks_url = await stack.enter_async_context(_fal_keys(traffic))
            cases = []
            for name in _names(options):
                say(f"preparing {name}")
                folder = options.folder / name
                folder.mkdir(parents=True)
                make = await _prepare(name, folder, options, traffic, say)
                started = server_process(name, folder, core=server_core, jwks_url=jwks_url)
                cases.append(Case(name=name, make=make, server=await stack.enter_async_context(started)))
            await _run_rounds(cases, options, say)
        say("measuring the steps")
        steps = await measure_steps(options.folder, traffic)
        fsync_us = await asyncio.to_thread(measure_fsync, options.folder)
    results = summarise(cases)
    return IngestResult(
        cases=results,
        comparisons=compare(results),
        steps_us=steps,
        fsync_us=fsync_us,
        rounds=options.rounds,
        requests=options.requests,
        connections=options.connections,
        pinned=server_core is not None,
    )


async def _run_rounds(cases: list[Case], options: IngestOptions, say: Say) -> None:
    for case in cases:
        await case.warm_up(WARM_UP, options.connections)
    gc.disable()  # in the process that makes the load, for as long as it is timed
    try:
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            start = number % len(cases)  # another one first each time
            for case in (*cases[start:], *cases[:start]):
                await case.run(options.requests, options.connections)
    finally:
        gc.enable()
    for case in cases:
        await case.end()


def _names(options: IngestOptions) -> list[str]:
    names = ["bare", "token", "fal"]
    if options.already_stored:
        names.append("token_full")
    if has_handwritten():
        names.append("handwritten")
    return names


async def _prepare(name: str, folder: Path, options: IngestOptions, traffic: Traffic, say: Say) -> MakeRequests:
    if name == "bare":
        return traffic.bare
    if name == "handwritten":
        return traffic.handwritten
    path = bench_settings(folder).database_path
    if name == "token_full":
        await store_callbacks(path, options.already_stored, say=say)
    jobs = traffic.jobs("fal" if name == "fal" else "useapi", options.total)
    await register_jobs(path, jobs)
    waiting = iter(jobs)
    sign = traffic.fal if name == "fal" else traffic.token

    def make(count: int) -> list[bytes]:
        return sign([next(waiting) for _ in range(count)])

    return make


@contextmanager
def _cores() -> Iterator[int | None]:
    """Move this process, which makes the load, to a core of its own; the one that is left for the servers, if any."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield None
        return
    before = os.sched_getaffinity(0)
    server_core, load_core = sorted(before)[:2]
    os.sched_setaffinity(0, {load_core})
    try:
        yield server_core
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def _fal_keys(traffic: Traffic) -> AsyncIterator[str]:
    """fal's public keys on loopback."""

    async def keys(_: Request) -> Response:
        return JSONResponse(traffic.fal_jwks())

    bound = free_socket()
    async with served(Starlette(routes=[Route("/jwks.json", keys)]), bound) as url:
        yield f"{url}/jwks.json"
