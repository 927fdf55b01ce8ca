"""`/metrics`: what it tells, whom, and that the shipped board and alerts ask for nothing else."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from replyhook.ids import new_id
from replyhook_receiver.measures import ACK_BUCKETS, MOST_ENDPOINTS, Acks, DeliveryTries
from tests.receiver.support import API_KEY, AUTH, PERSONAL_ID, Host, Receiver, a_receiver, says, useapi_body

DEPLOY = Path(__file__).parents[3] / "deploy"
SCRAPER = "scraper-geheim-0123456789"


async def scraped(receiver: Receiver, headers: dict[str, str] = AUTH) -> dict[str, dict[tuple[str, ...], float]]:
    answer = await receiver.client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert not [secret for secret in (API_KEY, PERSONAL_ID, SCRAPER) if secret in answer.text]
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        found.setdefault(family.name, {})
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.values()))] = sample.value
    return found


async def a_story(receiver: Receiver, host: Host) -> None:
    job, path = await receiver.register(notify=[{"url": host.will("/hook", says(200))}])
    assert (await receiver.client.post(path, content=useapi_body(job))).status_code == 200
    assert (await receiver.client.post(path, content=useapi_body(job))).status_code == 200
    assert (await receiver.client.post(path, content=useapi_body(job, "FAILED"))).status_code == 200
    assert (await receiver.client.post("/callbacks/fal/forged", content=b"{}")).status_code == 401
    await receiver.eventually(job, lambda _: host.asked("/hook"))


async def test_it_tells_what_came_and_what_became_of_it(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, metrics=True) as receiver:
        await a_story(receiver, host)
        found = await scraped(receiver)
    assert found["replyhook_ack_seconds_count"][()] == 3
    assert found["replyhook_ack_seconds_bucket"][("+Inf",)] == 3
    assert found["replyhook_callbacks_total"][("duplicate", "token_only", "useapi")] == 1
    assert sum(found["replyhook_callbacks_total"].values()) == 3
    assert sum(found["replyhook_verification_failures_total"].values()) == 1
    assert found["replyhook_store_writes_total"][()] >= found["replyhook_store_commits_total"][()] > 0
    assert found["replyhook_on_hold"][()] == 0


async def test_it_tells_which_endpoint_refuses_and_counts_those_of_jobs_as_one(tmp_path: Path, host: Host) -> None:
    good, bad = host.will("/good", says(204)), host.will("/bad", says(500))
    async with a_receiver(tmp_path, host, metrics=True) as receiver:
        ids = {}
        for url in (good, bad):
            added = await receiver.client.post("/v1/endpoints", json={"url": url}, headers=AUTH)
            ids[url] = added.json()["id"]
        for _ in range(2):
            job, path = await receiver.register(notify=[{"url": host.will("/own", says(200))}])
            assert (await receiver.client.post(path, content=useapi_body(job, "FAILED"))).status_code == 200
        wanted = {
            ("a job's own", "delivered", "webhook"): 2,
            ("delivered", ids[good], "webhook"): 2,
            (ids[bad], "failed", "webhook"): 1,
        }
        async with asyncio.timeout(60):
            told = await tries(receiver)
            while not all(told.get(labels, 0) >= count for labels, count in wanted.items()):
                await asyncio.sleep(0.05)
                told = await tries(receiver)
    assert set(told) == set(wanted)


async def tries(receiver: Receiver) -> dict[tuple[str, ...], float]:
    return (await scraped(receiver)).get("replyhook_delivery_tries_total", {})


def test_endpoints_beyond_the_most_that_are_told_apart_count_as_one() -> None:
    ended = DeliveryTries()
    for number in range(MOST_ENDPOINTS + 2):
        ended.add("webhook", f"ep_{number}", "failed")
    ended.add("webhook", "ep_0", "failed")
    counts = ended.read()
    assert len(counts) == MOST_ENDPOINTS + 1
    assert counts["webhook", "others", "failed"] == counts["webhook", "ep_0", "failed"] == 2


async def test_while_the_database_is_away_it_says_so_and_tells_what_it_has_counted(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, metrics=True, metrics_token=SCRAPER) as receiver:
        await a_story(receiver, host)
        headers = {"authorization": f"Bearer {SCRAPER}"}
        assert (await scraped(receiver, headers))["replyhook_store_up"][()] == 1
        await receiver.app.state.store.close()
        found = await scraped(receiver, headers)
    assert found["replyhook_store_up"][()] == 0
    assert sum(found["replyhook_callbacks_total"].values()) == 3
    assert "replyhook_queue_depth" not in found


async def test_only_who_may_sees_it_and_by_default_nobody(tmp_path: Path, host: Host, receiver: Receiver) -> None:
    assert (await receiver.client.get("/metrics", headers=AUTH)).status_code == 404
    async with a_receiver(tmp_path / "keyed", host, metrics=True) as keyed:
        assert (await keyed.client.get("/metrics")).status_code == 401
        assert (await keyed.client.get("/metrics", headers=AUTH)).status_code == 200
    async with a_receiver(tmp_path / "apart", host, metrics=True, metrics_token=SCRAPER) as apart:
        for headers in ({}, AUTH, {"authorization": "Bearer "}, {"authorization": f"Basic {SCRAPER}"}):
            assert (await apart.client.get("/metrics", headers=headers)).status_code == 401
        await scraped(apart, {"authorization": f"Bearer {SCRAPER}"})
        assert (await apart.client.get("/v1/jobs", headers={"authorization": f"Bearer {SCRAPER}"})).status_code == 401


def asked_for(expressions: list[str]) -> set[str]:
    return {name for each in expressions for name in re.findall(r"replyhook_[a-z_]+", each)}


def board() -> list[str]:
    panels: list[dict[str, Any]] = json.loads((DEPLOY / "grafana-board.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    return [target["expr"] for panel in panels for target in panel["targets"]]


def alerts() -> list[str]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"]
    assert all(rule["alert"] and rule["annotations"]["summary"] for rule in group["rules"])
    return [rule["expr"] for rule in group["rules"]]


@pytest.mark.parametrize("expressions", [board, alerts])
async def test_the_shipped_board_and_alerts_ask_only_for_what_there_is(
    tmp_path: Path, host: Host, expressions: Any
) -> None:
    async with a_receiver(tmp_path, host, metrics=True) as receiver:
        text = (await receiver.client.get("/metrics", headers=AUTH)).text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE))
    there = {name for name, kind in kinds.items() if kind in ("gauge", "counter")}
    there |= {f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "sum")}
    wanted = asked_for(expressions())
    assert wanted
    assert wanted - there == {"replyhook_workers"}  # it is told where several processes share a database (test_worker)


@pytest.mark.parametrize("expressions", [board, alerts])
def test_the_shipped_board_and_alerts_are_written_in_promql(expressions: Any) -> None:
    promql = pytest.importorskip("promql_parser", reason="no wheel of promql-parser for this machine")
    for expression in expressions():
        promql.parse(expression)
    with pytest.raises(ValueError, match="parenthesis"):
        promql.parse("max by (kind (replyhook_queue_depth)")


def test_acknowledgements_are_sorted_into_their_buckets_however_many() -> None:
    acks = Acks()
    for _ in range(5_000):
        acks.add(ACK_BUCKETS[0])
    acks.add(ACK_BUCKETS[0] * 1.01)
    acks.add(99.0)
    counts, total = acks.read()
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (5_000, 1, 1, 5_002)
    assert total == pytest.approx(5_000 * 0.001 + 0.00101 + 99)


async def test_the_shipped_alerts_ask_for_conflicts_and_what_is_not_understood_by_their_labels(
    tmp_path: Path, host: Host
) -> None:
    asked = {each for rule in alerts() for each in re.findall(r'replyhook_callbacks_total(\{verdict="\w+"\})', rule)}
    async with a_receiver(tmp_path, host, metrics=True) as receiver:
        job, path = await receiver.register()
        for body in (useapi_body(job), useapi_body(new_id("job")), b"not read"):
            assert (await receiver.client.post(path, content=body)).status_code == 200
        text = (await receiver.client.get("/metrics", headers=AUTH)).text
    kept = re.findall(r"^replyhook_callbacks_total\{(.+)\} ", text, flags=re.MULTILINE)
    there = {f"{{{label}}}" for labels in kept for label in labels.split(",") if label.startswith("verdict=")}
    assert asked == there - {'{verdict="applied"}'}
