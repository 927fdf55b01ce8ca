"""Canceling over HTTP: what was not submitted never is; what was, its provider is asked about."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.receiver.support import AUTH, NOW, Host, Receiver, a_receiver, says, says_json, until, useapi_body

CANCEL = "/fal/fal-ai/pixverse/requests/r-1/cancel"
VIDEO = "https://example.com/in.mp4"


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    """A receiver that holds keys, and submits one job at a time at each account."""
    keys = {"api_key": "k", "max_jobs": 1}
    async with a_receiver(tmp_path, host, providers={"fal": keys, "useapi": {"api_key": "k"}}) as receiver:
        yield receiver


async def relay(receiver: Receiver, **more: Any) -> str:
    content = {"provider": "fal", "video": VIDEO, "request": {"prompt": "on"}, **more}
    answer = await receiver.client.post("/v1/jobs", json=content, headers=AUTH)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def cancel(receiver: Receiver, job: str, **headers: str) -> httpx.Response:
    return await receiver.client.post(f"/v1/jobs/{job}/cancel", headers={**AUTH, **headers})


def submits(host: Host) -> int:
    return sum(1 for method, path, _, _ in host.seen if method == "POST" and path.startswith("/fal/"))


async def test_a_job_on_hold_is_canceled_and_never_submitted(receiver: Receiver, host: Host) -> None:
    assert (await receiver.client.put("/v1/hold", headers=AUTH)).status_code == 200
    job = await relay(receiver, reference="order-42")
    answer = await cancel(receiver, job)
    assert (answer.status_code, answer.json()["status"], answer.json()["canceled_by"]) == (200, "canceled", "receiver")
    assert answer.json()["error"]["code"] == "canceled"
    again = await cancel(receiver, job)
    assert (again.status_code, again.json()["canceled_by"]) == (200, "receiver")
    noted = receiver.rows("SELECT job_id, outcome FROM audit WHERE action = 'cancel'")
    assert noted == [(job, "done")], "once, however often it is asked"
    assert (await receiver.client.delete("/v1/hold", headers=AUTH)).status_code == 200
    await asyncio.sleep(0.3)
    assert submits(host) == 0
    assert (await receiver.job(job))["status"] == "canceled"
    assert receiver.rows("SELECT type FROM notifications") == [("job.canceled",)]
    told = (await receiver.client.get(f"/v1/jobs/{job}/timeline", headers=AUTH)).json()["data"]
    assert [entry["kind"] for entry in told if entry["kind"] != "task"] == ["registered", "notification"]


async def test_a_job_that_waits_for_a_place_is_canceled_and_its_place_goes_to_the_next(
    receiver: Receiver, host: Host
) -> None:
    running, _ = await receiver.register("fal")
    await receiver.submitted(running, "r-0")  # it has the one place there is
    waiting, later = [await relay(receiver) for _ in range(2)]
    for job in (waiting, later):
        await until(lambda job=job: (job,) in receiver.rows("SELECT job_id FROM relay_queue"))  # type: ignore[misc] # a default argument
    assert (await cancel(receiver, waiting)).json()["status"] == "canceled"
    assert (await receiver.job(later))["waiting_for"].endswith("0 before it")
    assert (waiting, "done") in receiver.rows("SELECT subject, state FROM tasks")
    assert submits(host) == 0


async def test_of_a_cancel_and_a_submit_at_once_one_comes_first_and_the_other_finds_that(receiver: Receiver) -> None:
    assert (await receiver.client.put("/v1/hold", headers=AUTH)).status_code == 200
    store = receiver.app.state.store
    outcomes = set()
    for turn in range(20):
        job = await relay(receiver)
        begin, end = store.begin_submit(job, now=NOW), store.canceling.cancel_unsent(job, now=NOW)
        both = (begin, end) if turn % 2 else (end, begin)
        first, second = await asyncio.gather(*both)
        begun, canceled = (first, second) if turn % 2 else (second, first)
        assert begun is not canceled
        assert (await receiver.job(job))["status"] == ("canceled" if canceled else "created")
        outcomes.add(canceled)
        assert not await store.begin_submit(job, now=NOW)
        assert not await store.canceling.cancel_unsent(job, now=NOW)
    assert outcomes == {True, False}


async def test_a_job_canceled_while_its_task_is_claimed_is_not_submitted(receiver: Receiver) -> None:
    assert (await receiver.client.put("/v1/hold", headers=AUTH)).status_code == 200
    job = await relay(receiver)
    store = receiver.app.state.store
    with sqlite3.connect(receiver.settings.database_path) as raw:
        raw.execute("UPDATE tasks SET state = 'leased', lease = 'x', lease_until_ms = 0 WHERE subject = ?", (job,))
    raw.close()
    assert await store.canceling.cancel_unsent(job, now=NOW)
    assert receiver.rows("SELECT state FROM tasks WHERE kind = 'relay'") == [("leased",)]
    assert (await receiver.client.delete("/v1/hold", headers=AUTH)).status_code == 200
    await relay(receiver)
    await until(lambda: (job, "done") in receiver.rows("SELECT subject, state FROM tasks"))
    assert (await receiver.job(job))["status"] == "canceled"
    assert (job, None) in receiver.rows("SELECT id, submitting_ms FROM jobs")


async def test_what_was_submitted_is_canceled_by_asking_its_provider(receiver: Receiver, host: Host) -> None:
    job, _ = await receiver.register("fal")
    await receiver.submitted(job, "r-1")
    host.will(CANCEL, says_json({"status": "CANCELLATION_REQUESTED"}, 202))
    answer = await cancel(receiver, job, **{"idempotency-key": "cancel-it"})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["canceled_by"], answer.json()["status"]) == ("provider", "submitted")
    assert (await cancel(receiver, job, **{"idempotency-key": "cancel-it"})).json() == answer.json()
    assert [method for method, path, _, _ in host.seen if path == CANCEL] == ["PUT"]


async def test_what_cannot_be_canceled_says_why(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    answer = await cancel(receiver, job)
    assert (answer.status_code, "no way to cancel" in answer.json()["detail"]) == (409, True)
    await receiver.client.post(path, content=useapi_body(job, "FAILED"))
    answer = await cancel(receiver, job)
    assert (answer.status_code, "ended already" in answer.json()["detail"]) == (409, True)
    assert (await cancel(receiver, "job_unknown")).status_code == 404
    assert (await receiver.client.post(f"/v1/jobs/{job}/cancel", json={"why": 1}, headers=AUTH)).status_code == 422


@pytest.mark.parametrize(("status", "answered"), [(400, 409), (404, 409), (500, 503)])
async def test_what_a_provider_says_to_it_is_told(receiver: Receiver, host: Host, status: int, answered: int) -> None:
    job, _ = await receiver.register("fal")
    await receiver.submitted(job, "r-1")
    host.will(CANCEL, says(status))
    answer = await cancel(receiver, job)
    assert answer.status_code == answered, answer.text
    assert ("retry-after" in answer.headers) is (answered == 503)
    assert (await receiver.job(job))["status"] == "submitted"
