"""Relayed submits that wait: for a place at their provider (`max_jobs`), or for a provider that takes no more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.ids import new_id
from replyhook_receiver.retries import RELAYS
from replyhook_receiver.serving import free_socket
from replyhook_receiver.storage.local import LocalStorage
from tests.receiver.support import (
    AUTH,
    NOW,
    Answer,
    Clock,
    Host,
    Receiver,
    a_receiver,
    callback_path,
    fal_body,
    says,
    says_json,
    until,
)

SUBMIT = "/fal/fal-ai/pixverse/v6/extend"
SEGMIND = "/segmind/v1/pixverse-5-extend"
VIDEO = "https://a.example/in.mp4"
JOB = "job_06gzvyj6038xt427xgy6esgkjx"


@asynccontextmanager
async def relaying(
    tmp_path: Path, host: Host, *, max_jobs: int = 0, at: Clock | None = None, **more: Any
) -> AsyncIterator[Receiver]:
    providers = {
        "fal": {"api_key": "fal-geheim", "max_jobs": max_jobs},
        "segmind": {"api_key": "k", "base_url": f"{host.url}/segmind", "media_hosts": ("127.0.0.1",)},
    }
    async with a_receiver(tmp_path, host, providers=providers, clock=at, **more) as receiver:
        yield receiver


async def relay(receiver: Receiver, job_id: str = JOB, provider: str = "fal") -> None:
    content = {"provider": provider, "video": VIDEO, "request": {"prompt": job_id}, "id": job_id}
    answer = await receiver.client.post("/v1/jobs", json=content, headers=AUTH)
    assert answer.status_code == 202, answer.text


def takes_each(seen: list[str]) -> Answer:
    """fal, which takes everything; ``seen`` is what it was asked for, each job by its id."""

    async def answer(request: Request) -> Response:
        seen.append((await request.json())["prompt"])
        return await says_json({"request_id": f"r-{len(seen)}"})(request)

    return answer


async def ends(receiver: Receiver, job_id: str) -> None:
    """fal calls back: the job has failed."""
    job = await receiver.eventually(job_id, lambda job: job["provider_job_id"])
    body = fal_body(job["provider_job_id"], "ERROR")

    path = callback_path("fal", job_id)
    headers = receiver.fal.headers(body, request_id=job["provider_job_id"])
    assert (await receiver.client.post(path, content=body, headers=headers)).status_code == 200


async def settled() -> None:
    """Give a worker that would do too much the time to do it."""
    await asyncio.sleep(0.15)


def ids(count: int) -> list[str]:
    return [new_id("job", at=NOW.timestamp() + number) for number in range(count)]


# A place


async def test_jobs_beyond_the_limit_wait_in_the_order_of_arrival_and_each_end_lets_in_the_next(
    tmp_path: Path, host: Host
) -> None:
    seen: list[str] = []
    host.will(SUBMIT, takes_each(seen))
    async with relaying(tmp_path, host, max_jobs=2) as receiver:
        jobs = ids(6)
        for job_id in reversed(jobs):  # their ids say another order than that of arrival
            await relay(receiver, job_id)
            receiver.clock.move(seconds=1)
        arrived = jobs[::-1]
        await until(lambda: len(seen) == 2)
        await settled()
        assert set(seen) == set(arrived[:2])
        waiting = await receiver.job(arrived[3])
        assert waiting["status"] == "created"
        assert waiting["waiting_for"] == "a place at fal (max_jobs is 2); 1 before it"
        assert "waiting_for" not in await receiver.job(arrived[0])
        for number in range(4):
            await ends(receiver, seen[number])
            await until(lambda: len(seen) == number + 3)  # noqa: B023 - awaited at once
            await settled()
            assert len(seen) == number + 3
        assert seen[2:] == arrived[2:]
        assert max(receiver.rows("SELECT attempts FROM tasks WHERE kind = 'relay'")) == (1,)


async def test_what_waits_still_waits_after_a_restart_and_a_lifted_limit_lets_it_in(tmp_path: Path, host: Host) -> None:
    seen: list[str] = []
    host.will(SUBMIT, takes_each(seen))
    first, *rest = jobs = ids(4)
    async with relaying(tmp_path, host, max_jobs=1) as receiver:
        for job_id in jobs:
            await relay(receiver, job_id)
            receiver.clock.move(seconds=1)
        await until(lambda: seen == [first])
    async with relaying(tmp_path, host, max_jobs=1, at=Clock(NOW + timedelta(seconds=9))) as restarted:
        await settled()
        assert seen == [first]
        await ends(restarted, first)
        await until(lambda: len(seen) == 2)
        await settled()
        assert len(seen) == 2
    async with relaying(tmp_path, host, at=Clock(NOW + timedelta(seconds=19))):
        await until(lambda: len(seen) == 4)
        assert seen[1] == rest[0]
        assert set(seen) == set(jobs)


async def test_a_direct_job_takes_a_place_once_it_is_under_way_and_a_refused_one_does_not(
    tmp_path: Path, host: Host
) -> None:
    seen: list[str] = []
    host.will(SUBMIT, takes_each(seen))
    async with relaying(tmp_path, host, max_jobs=1) as receiver:
        direct, _ = await receiver.register("fal")
        refused, _ = await receiver.register("fal")
        await receiver.submitted(direct, "r-direct")
        told = {"outcome": "refused", "error": "no"}
        assert (await receiver.client.post(f"/v1/jobs/{refused}/submission", json=told, headers=AUTH)).is_success
        await relay(receiver)
        await settled()
        assert seen == []
        await ends(receiver, direct)
        await until(lambda: seen == [JOB])


async def test_an_overdue_job_that_is_asked_about_no_more_gives_up_its_place(tmp_path: Path, host: Host) -> None:
    seen: list[str] = []
    host.will(SUBMIT, says_json({"detail": "it broke"}, 500), takes_each(seen))
    first, second = ids(2)
    async with relaying(tmp_path, host, max_jobs=1) as receiver:
        await relay(receiver, first)
        await receiver.eventually(first, lambda job: job["status"] == "unknown")
        await relay(receiver, second)
        await settled()
        assert seen == []  # it may be at work there
        for _ in range(4):
            receiver.clock.move(hours=9)
            await receiver.register()
            await settled()
        assert (await receiver.job(first))["overdue_at"] is not None
        await until(lambda: seen == [second])


async def test_one_provider_that_is_full_holds_up_no_other(tmp_path: Path, host: Host) -> None:
    seen: list[str] = []
    host.will(SUBMIT, takes_each(seen))
    host.will(SEGMIND, says_json({"error": "no"}, 400))
    first, second, third = ids(3)
    async with relaying(tmp_path, host, max_jobs=1, relay_concurrency=1) as receiver:
        await relay(receiver, first)
        await relay(receiver, second)
        await relay(receiver, third, "segmind")
        await until(lambda: host.asked(SEGMIND) == 1)
        assert seen == [first]


async def test_a_job_of_an_account_that_the_key_is_not_of_is_refused(tmp_path: Path, host: Host) -> None:
    async with relaying(tmp_path, host) as receiver:
        content = {"provider": "fal", "video": VIDEO, "request": {"prompt": "on"}, "account": "second"}
        answer = await receiver.client.post("/v1/jobs", json=content, headers=AUTH)
        assert (answer.status_code, answer.json()["field"]) == (422, "account")


# A provider that takes no more


# Room


async def test_while_the_disk_is_low_nothing_is_submitted_whose_answer_could_not_be_kept(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1000
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: free)
    seen: list[str] = []
    host.will(SUBMIT, takes_each(seen))
    host.will(SEGMIND, says(200, clip, content_type="video/mp4"))
    async with relaying(tmp_path, host, min_free_disk_bytes=10**6) as receiver:
        await relay(receiver, JOB, "segmind")
        await receiver.eventually(JOB, lambda job: "waiting_for" in job)
        for _ in range(RELAYS.attempts + 1):
            receiver.clock.move(seconds=61)
            await receiver.register()
            await settled()
        job = await receiver.job(JOB)
        assert (job["status"], job["overdue_at"]) == ("created", None)
        assert "min_free_disk_bytes" in job["waiting_for"]
        assert receiver.rows("SELECT attempts FROM tasks WHERE kind = 'relay'") == [(0,)]
        (other,) = ids(1)
        await relay(receiver, other)  # its video comes by a link later
        await until(lambda: seen == [other])
        assert host.asked(SEGMIND) == 0
        free = 10**9
        receiver.clock.move(seconds=61)
        await receiver.register()
        job = await receiver.eventually(JOB, lambda job: job["video"]["status"] == "stored")
        assert "waiting_for" not in job
    assert host.asked(SEGMIND) == 1


# What a provider says


def busy(status: int = 429, **headers: str) -> Answer:
    return says(status, b'{"detail": "too many"}', content_type="application/json", **headers)


async def due_in(receiver: Receiver) -> float:
    """In how many seconds the refused submit is sent again."""
    await until(lambda: receiver.rows("SELECT count(*) FROM relay_refusals") == [(1,)])
    ((due_ms,),) = receiver.rows("SELECT due_ms FROM tasks WHERE kind = 'relay'")
    return due_ms / 1000 - receiver.clock().timestamp()


@pytest.mark.parametrize(
    ("headers", "shortest", "longest"),
    [
        ({}, 10, 30),
        ({"retry_after": "77"}, 77, 77),
        ({"retry_after": "0"}, 1, 1),
        ({"retry_after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90, 90),
        ({"retry_after": "Sun, 06 Nov 1994 08:50:37 GMT", "date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 60, 60),
    ],
)
async def test_too_many_at_a_time_is_waited_out_as_the_provider_asks(
    tmp_path: Path, host: Host, headers: dict[str, str], shortest: float, longest: float
) -> None:
    seen: list[str] = []
    host.will(SUBMIT, busy(**headers), takes_each(seen))
    async with relaying(tmp_path, host) as receiver:
        await relay(receiver)
        pause = await due_in(receiver)
        assert shortest - 0.01 <= pause <= longest + 0.01
        job = await receiver.job(JOB)
        assert (job["status"], job["error"]) == ("created", None)
        assert job["waiting_for"].startswith("fal, which is asked again at 2026-11-21T12:0")
        assert "too many" in job["waiting_for"]
        await settled()
        assert host.asked(SUBMIT) == 1
        receiver.clock.move(seconds=pause + 0.1)
        await receiver.register()
        await until(lambda: seen == [JOB])
        job = await receiver.eventually(JOB, lambda job: job["status"] == "submitted")
        assert "waiting_for" not in job
        await settled()
        assert host.asked(SUBMIT) == 2


async def test_a_refusal_is_waited_out_across_restarts_and_no_longer_than_the_operator_said(
    tmp_path: Path, host: Host
) -> None:
    host.will(SUBMIT, busy(retry_after="50"))
    clock = Clock()
    for refusals in range(1, 8):  # more than its task has attempts
        async with relaying(tmp_path, host, relay_patience_seconds=300, at=clock) as receiver:
            if refusals == 1:
                await relay(receiver)
            await until(lambda: host.asked(SUBMIT) == refusals)  # noqa: B023 - awaited at once
            if refusals < 7:
                due_ms = int((clock() + timedelta(seconds=50)).timestamp() * 1000)
                again = "SELECT due_ms FROM tasks WHERE kind = 'relay' AND state = 'ready'"
                await until(lambda: receiver.rows(again) == [(due_ms,)])  # noqa: B023
            else:
                job = await receiver.eventually(JOB, lambda job: job["status"] == "failed")
                assert job["error"]["code"] == "submission_refused"
                assert job["error"]["message"] == "RateLimited: too many (waited 300 s for it)"
                assert receiver.rows("SELECT type FROM notifications") == [("job.failed",)]
        clock.move(seconds=50)
    assert host.asked(SUBMIT) == 7


async def test_a_pause_longer_than_the_patience_ends_it_at_once(tmp_path: Path, host: Host) -> None:
    host.will(SUBMIT, busy(retry_after="3601"))
    async with relaying(tmp_path, host) as receiver:
        await relay(receiver)
        job = await receiver.eventually(JOB, lambda job: job["status"] == "failed")
        assert job["error"]["message"].startswith("RateLimited: too many")


async def test_a_provider_that_is_not_there_is_tried_again(tmp_path: Path, host: Host) -> None:
    with free_socket() as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    providers = {"fal": {"api_key": "k", "base_url": url}}
    async with a_receiver(tmp_path, host, providers=providers) as receiver:
        await relay(receiver)
        assert 10 <= await due_in(receiver) <= 30
        assert "Unreachable" in (await receiver.job(JOB))["waiting_for"]


async def test_who_was_refused_keeps_its_place_so_that_nobody_else_is_refused_there_meanwhile(
    tmp_path: Path, host: Host
) -> None:
    seen: list[str] = []
    host.will(SUBMIT, busy(retry_after="20"), takes_each(seen))
    first, second = ids(2)
    async with relaying(tmp_path, host, max_jobs=1) as receiver:
        await relay(receiver, first)
        await due_in(receiver)
        receiver.clock.move(seconds=1)
        await relay(receiver, second)
        await settled()
        assert host.asked(SUBMIT) == 1
        receiver.clock.move(seconds=20)
        await receiver.register()
        await until(lambda: seen == [first])
        await ends(receiver, first)
        await until(lambda: seen == [first, second])


async def test_a_doubtful_answer_after_a_refusal_is_never_sent_again(tmp_path: Path, host: Host) -> None:
    host.will(SUBMIT, busy(retry_after="5"), says(500))
    async with relaying(tmp_path, host) as receiver:
        await relay(receiver)
        await due_in(receiver)
        receiver.clock.move(seconds=6)
        await receiver.register()
        await receiver.eventually(JOB, lambda job: job["status"] == "unknown")
        receiver.clock.move(days=2)
        await receiver.register()
        await settled()
    assert host.asked(SUBMIT) == 2
