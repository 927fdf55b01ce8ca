"""`replyhook bench ingest` measures what it says: all it sends is verified, answered and stored, in every case."""

import json
import os
from pathlib import Path

import pytest

from replyhook_receiver.bench.load import LoadFailed, run_load
from replyhook_receiver.bench.server import bare_app
from replyhook_receiver.bench.traffic import Traffic
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.bench.command import run_bench
from tests.receiver.support import SECRETS, settings_for

REQUESTS = 150


async def bench(*options: str) -> tuple[int, str, str]:
    return await run_bench("ingest", "--rounds", "2", "--requests", str(REQUESTS), *options)


async def test_every_case_stores_what_it_acknowledges_and_is_compared_with_the_bare_route(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the hand-written case needs replyhook[bench]")
    code, said, told = await bench("--json", "--stored", "400", "--dir", str(tmp_path))
    assert code == 0, told
    result = json.loads(said)
    cases = {case["name"]: case for case in result["cases"]}
    assert list(cases) == ["bare", "token", "fal", "token_full", "handwritten"]
    assert {case["acknowledged"] for case in cases.values()} == {2 * REQUESTS}
    assert {case["stored"] for name, case in cases.items() if name != "bare"} == {2 * REQUESTS}
    assert cases["bare"]["ratio"] == 1
    for name in ("token", "fal", "token_full"):
        case = cases[name]
        assert case["ratio"] > 0
        assert case["callbacks_per_commit"] >= 1
        assert case["fsyncs_per_callback"] == pytest.approx(1 / case["callbacks_per_commit"], rel=0.05)
    assert {comparison["what"] for comparison in result["comparisons"] if comparison["met"] is not None} == {
        "token / bare",
        "fal / bare",
        "token / handwritten",
        "p99 of token / p99 of bare",
        "token with a full database / token",
    }
    assert all(microseconds > 0 for microseconds in (*result["steps_us"].values(), result["fsync_us"]))
    assert os.listdir(tmp_path) == [], "it leaves something behind"


async def test_the_load_takes_nothing_but_ok_for_an_answer() -> None:
    jobs = Traffic().bare(3)
    bound = free_socket()
    async with served(bare_app(), bound):
        assert (await run_load(bound.getsockname()[1], jobs, connections=2)).acknowledged == 3
        with pytest.raises(LoadFailed, match="405"):
            await run_load(bound.getsockname()[1], [b"GET /callbacks/a/b HTTP/1.1\r\nhost: x\r\n\r\n"], connections=1)


async def test_what_is_not_verified_fails_the_run(tmp_path: Path) -> None:
    bound = free_socket()
    others = create_app(settings_for(tmp_path), secrets=SECRETS)  # with other signing keys than the bench's
    async with served(others, bound):
        with pytest.raises(LoadFailed, match="401"):
            await run_load(bound.getsockname()[1], Traffic().bare(2), connections=1)
