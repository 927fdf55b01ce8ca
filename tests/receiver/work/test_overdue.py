"""Jobs that are never called back: asked about past their deadline, at most three times, then announced once."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.receiver.support import (
    API_KEY,
    AUTH,
    NOW,
    PERSONAL_ID,
    SECRETS,
    Answer,
    Clock,
    Host,
    Receiver,
    a_receiver,
    fal_body,
    says,
    says_json,
    settings_for,
    until,
    useapi_body,
)

STATUS = "/fal/fal-ai/pixverse/requests/r-1/status"
RESULT = "/fal/fal-ai/pixverse/requests/r-1"
LIST = "/useapi/videos/"
COMPLETED = says_json({"status": "COMPLETED", "request_id": "r-1"})
IN_PROGRESS = says_json({"status": "IN_PROGRESS", "request_id": "r-1"}, 202)
KEYS = {"fal": {"api_key": "provider-geheim"}, "useapi": {"api_key": "provider-geheim"}}
ANNOUNCED = "SELECT type FROM notifications ORDER BY sequence"


@pytest.fixture
def result(host: Host, clip: bytes) -> Answer:
    """The result as fal tells it, of a video that is there."""
    return says_json({"video": {"url": host.will("/one.mp4", says(200, clip)), "content_type": "video/mp4"}})


async def silent(receiver: Receiver, provider: str = "fal", provider_job_id: str = "r-1") -> tuple[str, str]:
    """A job whose submit was accepted, and the path of its reply URL."""
    job, path = await receiver.register(provider)
    await receiver.submitted(job, provider_job_id)
    return job, path


async def lost(receiver: Receiver, provider: str) -> str:
    """A job whose submit has no known outcome."""
    job, _ = await receiver.register(provider)
    content = {"outcome": "unknown", "error": "the connection broke"}
    await receiver.client.post(f"/v1/jobs/{job}/submission", json=content, headers=AUTH)
    return job


async def pass_minutes(receiver: Receiver, minutes: float) -> None:
    """Let time pass, and the worker see it."""
    receiver.clock.move(minutes=minutes)
    await receiver.register()
    await asyncio.sleep(0.15)


async def questions(receiver: Receiver) -> dict[str, Any]:
    counted: dict[str, Any] = (await receiver.client.get("/v1/questions", headers=AUTH)).json()
    return counted


def announced(receiver: Receiver) -> list[str]:
    return [row[0] for row in receiver.rows(ANNOUNCED)]


async def test_a_silent_job_is_asked_about_once_past_its_deadline_and_ends_as_by_a_callback(
    tmp_path: Path, host: Host, result: Answer
) -> None:
    host.will(STATUS, COMPLETED)
    host.will(RESULT, result)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job, path = await silent(receiver)
        await pass_minutes(receiver, 14.9)
        assert host.asked(STATUS) == 0
        await pass_minutes(receiver, 0.2)
        kept = await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert (kept["status"], kept["trust"], kept["overdue_at"]) == ("succeeded", "reconciled", None)
        assert announced(receiver) == ["job.succeeded", "video.stored"]
        (newest, *_) = await receiver.callbacks(job)
        link = json.loads((await receiver.callback(newest["id"]))["body"])["video"]["url"]
        body = fal_body("r-1", url=f"{link}?signed=anew")
        answer = await receiver.client.post(path, content=body, headers=receiver.fal.headers(body, request_id="r-1"))
        assert answer.status_code == 200
        after, asked = await receiver.callbacks(job)
        assert (asked["source"], asked["verdict"]) == ("reconcile", "applied")
        assert (after["source"], after["verdict"]) == ("callback", "duplicate")
        await pass_minutes(receiver, 600)
        assert (host.asked(STATUS), host.asked(RESULT)) == (1, 1)
        assert await questions(receiver) == {
            "fal": {
                "asked": {"overdue": 1, "no_result": 0, "foreign_host": 0, "dead_link": 0},
                "recovered": 1,
                "lost": 0,
            }
        }


LADDER = [15, 30, 75]


@pytest.mark.parametrize("answer", [IN_PROGRESS, says(404), says(500), says(429), says(200, b"<html>")])
async def test_three_questions_on_a_widening_ladder_and_then_it_is_announced_once(
    tmp_path: Path, host: Host, answer: Answer
) -> None:
    host.will(STATUS, answer)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job, _ = await silent(receiver)
        asked_at = []
        for minute in range(1, 120):
            before = host.asked(STATUS)
            receiver.clock.move(minutes=1)
            await receiver.register()
            if minute in LADDER:
                await until(lambda before=before: host.asked(STATUS) > before)
            await asyncio.sleep(0.02 if minute % 15 else 0.3)
            asked_at += [minute] * (host.asked(STATUS) - before)
        kept = await receiver.eventually(job, lambda job: job["overdue_at"])
        assert asked_at == LADDER
        assert (kept["status"], kept["overdue_reason"].partition(":")[0]) == ("submitted", "no_callback")
        await pass_minutes(receiver, 60 * 24 * 7)
        assert host.asked(STATUS) == 3
        assert announced(receiver) == ["job.overdue"]
        counted = (await questions(receiver))["fal"]
        assert (counted["asked"]["overdue"], counted["recovered"], counted["lost"]) == (3, 0, 1)


async def test_a_late_callback_still_ends_a_job_that_is_overdue(tmp_path: Path, host: Host, clip: bytes) -> None:
    async with a_receiver(tmp_path, host) as receiver:
        job, path = await silent(receiver, "useapi", PERSONAL_ID)
        await pass_minutes(receiver, 16)
        assert (await receiver.job(job))["overdue_reason"].startswith("no_provider_key: ")
        link = host.will("/one.mp4", says(200, clip))
        await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
        await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert announced(receiver) == ["job.overdue", "job.succeeded", "video.stored"]


async def test_a_callback_between_two_questions_ends_the_asking(tmp_path: Path, host: Host) -> None:
    host.will(STATUS, IN_PROGRESS)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        _, path = await silent(receiver)
        await pass_minutes(receiver, 15)
        body = fal_body("r-1", status="ERROR")
        await receiver.client.post(path, content=body, headers=receiver.fal.headers(body, request_id="r-1"))
        await pass_minutes(receiver, 16)
        await pass_minutes(receiver, 60)
        assert host.asked(STATUS) == 1
        assert announced(receiver) == ["job.failed"]


async def test_without_the_providers_key_nothing_is_asked_and_the_registration_says_so_before(
    tmp_path: Path, host: Host
) -> None:
    async with a_receiver(tmp_path, host, providers={"useapi": KEYS["useapi"]}) as receiver:
        for provider, warned in (("fal", True), ("useapi", False)):
            answer = await receiver.client.put(
                f"/v1/jobs/{'job_06gzvyj6038xt427xgy6esgkjx' if warned else 'job_06gzvyj6038xt427xgy6esgkjy'}",
                json={"provider": provider},
                headers=AUTH,
            )
            warnings = answer.json()["warnings"]
            assert [warning.partition(":")[0] for warning in warnings] == ["no_provider_key"] * warned
        job, _ = await silent(receiver)
        before = len(host.seen)
        await pass_minutes(receiver, 15)
        kept = await receiver.eventually(job, lambda job: job["overdue_at"])
        assert kept["overdue_reason"].startswith("no_provider_key: ")
        await pass_minutes(receiver, 600)
        assert len(host.seen) == before
        assert announced(receiver) == ["job.overdue"]


async def test_useapis_404_is_no_news_never_a_failure(tmp_path: Path, host: Host) -> None:
    host.will("/useapi/videos/v-1", says(404))
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job, _ = await silent(receiver, "useapi", "v-1")
        for minutes in (15, 12, 23, 30):
            await pass_minutes(receiver, minutes)
        kept = await receiver.job(job)
        assert (kept["status"], kept["error"]) == ("submitted", None)
        assert kept["overdue_reason"].startswith("no_callback")
        assert host.asked("/useapi/videos/v-1") == 3


async def test_done_without_the_result_is_asked_again_in_a_moment_not_on_the_next_rung(
    tmp_path: Path, host: Host, result: Answer
) -> None:
    host.will(STATUS, COMPLETED)
    host.will(RESULT, says_json({"video": None}), result)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job, _ = await silent(receiver)
        await pass_minutes(receiver, 15)
        assert host.asked(RESULT) == 1
        await pass_minutes(receiver, 0.2)
        await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")


async def test_a_deadline_that_passed_while_the_receiver_was_down_is_seen_when_it_is_back(
    tmp_path: Path, host: Host, result: Answer
) -> None:
    host.will(STATUS, COMPLETED)
    host.will(RESULT, result)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job, _ = await silent(receiver)
    async with a_receiver(tmp_path, host, providers=KEYS, clock=Clock(NOW + timedelta(minutes=20))) as restarted:
        await restarted.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert host.asked(STATUS) == 1


# Submits of unknown outcome


@pytest.mark.parametrize("word", ["COMPLETED", "GENERATING"])
async def test_a_submit_lost_at_useapi_is_found_in_one_look_at_its_list(
    tmp_path: Path, host: Host, clip: bytes, word: str
) -> None:
    link = host.will("/one.mp4", says(200, clip))
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job = await lost(receiver, "useapi")
        other = {"video_id": "v-0", "video_status_name": "COMPLETED", "replyRef": "job_another", "url": link}
        mine = {"video_id": "v-1", "video_status_name": word, "replyRef": job, "url": link}
        host.will(LIST, says_json({"data": [other, mine]}))
        host.will("/useapi/videos/v-1", says_json(mine | {"video_status_name": "COMPLETED"}))
        await pass_minutes(receiver, 15)
        if word == "GENERATING":  # it runs, and can be asked about by its id from now on
            assert (await receiver.job(job))["status"] == "running"
            await pass_minutes(receiver, 12)
        kept = await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
        assert (kept["status"], kept["trust"]) == ("succeeded", "reconciled")
        assert (host.asked(LIST), host.asked("/useapi/videos/v-1")) == (1, int(word == "GENERATING"))


@pytest.mark.parametrize("answer", [says_json({"data": []}), says_json({"data": [None, {"video_id": "v-9"}]})])
async def test_a_submit_lost_at_useapi_that_its_list_does_not_hold_is_announced(
    tmp_path: Path, host: Host, answer: Answer
) -> None:
    host.will(LIST, answer)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job = await lost(receiver, "useapi")
        await pass_minutes(receiver, 15)
        kept = await receiver.eventually(job, lambda job: job["overdue_at"])
        assert (kept["status"], kept["overdue_reason"].partition(":")[0]) == ("unknown", "no_provider_job_id")
        await pass_minutes(receiver, 60)
        assert host.asked(LIST) == 1


def replyhook(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command as it is really run."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")}
    environ |= {"REPLYHOOK_RECEIVER_URL": url, "REPLYHOOK_API_KEY": API_KEY}
    command = [sys.executable, "-m", "replyhook_receiver", "jobs", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=20)


async def test_the_command_binds_an_unknown_job_and_the_receiver_asks_about_it_at_once(
    tmp_path: Path, host: Host, result: Answer
) -> None:
    host.will(STATUS, COMPLETED)
    host.will(RESULT, result)
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        job = await lost(receiver, "fal")
    app = create_app(settings_for(tmp_path, providers=receiver.settings.providers), secrets=SECRETS, now=Clock())
    async with served(app, free_socket()) as url:
        done = await asyncio.to_thread(replyhook, url, "bind", job, "r-1")
        assert (done.returncode, done.stderr) == (0, f"{job} is bound; its status is submitted\n")
        assert job in done.stdout
        store = app.state.store
        async with asyncio.timeout(60):
            while (await store.job(job)).asset.stored_at is None:
                await asyncio.sleep(0.02)
        other = await asyncio.to_thread(replyhook, url, "bind", job, "r-2")
        assert other.returncode == 1
        assert "409" in other.stderr
        nobody = await asyncio.to_thread(replyhook, url, "bind", "job_06gzvyj6038xt427xgy6esgkjz", "r-9")
        assert nobody.returncode == 5
    assert host.asked(STATUS) == 1
