"""What each step of taking a callback costs by itself, in microseconds, and what the disk takes to keep one page."""

import os
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from replyhook.messages import Callback
from replyhook.providers import VerificationKeys, make_provider
from replyhook.tokens import TokenKeys
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.bench.stored import new_report
from replyhook_receiver.bench.traffic import FAL_USER, REPLY_KEY, Traffic
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.stores.sql import facts
from replyhook_receiver.stores.sqlite.connection import connect, keep_undo_in_memory, migrate

_REPEATS = 5
_TIMES = 1_000
_BATCH = 32
_PAGE = b"x" * 4096


async def measure_steps(folder: Path, traffic: Traffic) -> dict[str, float]:
    """Microseconds for one callback's token, parse and signature, its rows, and its share of a commit of 32."""
    now = datetime.now(UTC)
    tokens = TokenKeys((REPLY_KEY,))
    useapi, fal = make_provider("useapi", {}), make_provider("fal", {"user_ids": (FAL_USER,)})
    job, fal_job = traffic.jobs("useapi", 1)[0], traffic.jobs("fal", 1)[0]
    token = tokens.mint(provider="useapi", job_id=job.id, now=now)
    callback = _as_callback("useapi", traffic.token([job])[0], now)
    signed = _as_callback("fal", traffic.fal([fal_job])[0], now)
    keys = VerificationKeys(public_keys=(bytes(traffic.fal_key.verify_key),))
    found = {
        "token": _microseconds(lambda: tokens.read(token, provider="useapi")),
        "parse": _microseconds(lambda: useapi.parse_callback(callback)),
        "signature (fal)": _microseconds(lambda: fal.verify(signed, keys=keys, now=now)),
        "parse (fal)": _microseconds(lambda: fal.parse_callback(signed)),
    }
    connection = await connect(folder / "steps.db")
    try:
        await connection.work(migrate)
        await connection.work(keep_undo_in_memory)
        rows, commit = await connection.work(_rows_and_commit)
    finally:
        await connection.close()
    return {**found, "rows": rows, f"commit, one of {_BATCH}": commit}


def _microseconds(step: Callable[[], object]) -> float:
    """The best of a few averages: what the step takes when nothing else disturbs it."""
    averages = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        for _ in range(_TIMES):
            step()
        averages.append((time.perf_counter() - started) / _TIMES)
    return round(min(averages) * 1e6, 1)


def _as_callback(provider: str, request: bytes, now: datetime) -> Callback:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.decode().partition(": ") for line in head.split(b"\r\n")[1:]]
    return Callback(
        provider=provider, headers=tuple((name, value) for name, _, value in lines), body=body, received_at=now
    )


def _rows_and_commit(raw: sqlite3.Connection) -> tuple[float, float]:
    describe = Announcer(public_url="http://127.0.0.1:8080", personal=frozenset({"useapi"})).body
    deadlines = Deadlines(())
    rows, commits = [], []
    for _ in range(_TIMES // _BATCH):
        reports = [new_report(datetime.now(UTC)) for _ in range(_BATCH)]
        started = time.perf_counter()
        raw.execute("BEGIN IMMEDIATE")
        facts.accept_all(raw, reports, describe, deadlines)
        written = time.perf_counter()
        raw.execute("COMMIT")
        rows.append((written - started) / _BATCH)
        commits.append((time.perf_counter() - written) / _BATCH)
    return round(median(rows) * 1e6, 1), round(median(commits) * 1e6, 1)


def measure_fsync(folder: Path) -> float:
    """The median microseconds that a written page takes to be on this disk (``fdatasync``)."""
    path = folder / "fsync"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(_PAGE)
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    path.unlink()
    return round(median(took) * 1e6, 1)
