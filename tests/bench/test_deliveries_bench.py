"""`replyhook bench deliveries` drains what it says, over a wire with the delay that it is given."""

import json
import time

import psycopg

from replyhook_receiver.bench.wire import wire
from tests.bench.command import run_bench
from tests.receiver.conftest import postgres_server
from tests.receiver.postgres_server import PostgreSQLServer

__all__ = ["postgres_server"]


async def test_each_case_is_drained_and_what_was_made_is_removed(postgres_server: PostgreSQLServer) -> None:
    code, said, told = await run_bench(
        "deliveries", "--json", "--quick", "--count", "50", "--database", postgres_server.url()
    )
    assert code == 0, told
    result = json.loads(said)
    assert [(case["endpoints"], case["workers"]) for case in result["cases"]] == [(1, 1), (1, 2), (100, 1), (100, 2)]
    assert all(case["per_s"] > 0 for case in result["cases"])
    with psycopg.connect(postgres_server.url()) as connection:
        left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'replyhook_bench%'").fetchall()
    assert left == []


def test_a_wire_holds_back_each_way_and_changes_nothing(postgres_server: PostgreSQLServer) -> None:
    with wire(postgres_server.url(), round_trip_ms=40) as longer, psycopg.connect(longer) as connection:
        began = time.perf_counter()
        row = connection.execute("SELECT repeat('x', 1000000)").fetchone()
        took = time.perf_counter() - began
    assert row == ("x" * 1_000_000,)
    assert took >= 0.04
