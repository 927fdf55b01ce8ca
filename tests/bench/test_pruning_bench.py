"""`replyhook bench pruning` throws rows away beside callbacks, and keeps every one of these."""

import json

from tests.bench.command import run_bench


async def test_rows_go_while_callbacks_come_and_none_of_these_is_lost() -> None:
    code, said, told = await run_bench("pruning", "--quick", "--rate", "100", "--json")
    assert code == 0, told
    found = json.loads(said)
    assert found["lost"] == 0
    assert found["alone"]["callbacks"] == found["beside"]["callbacks"] == 150
    assert sum(found["thrown_away"].values()) > 0
    assert 0 < found["beside"]["p50_ms"] <= found["beside"]["p99_ms"] <= found["beside"]["max_ms"]
