"""What goes wrong between a client, a receiver and a provider: real ones of the first two, and the imitated five."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from replyhook import AsyncClient, Client, JobOverdue
from replyhook.errors import InsufficientCredits, ProviderUnavailable, ReceiverUnavailable, SubmitOutcomeUnknown
from replyhook.providers import PROVIDERS
from replyhook_receiver.sandbox import Fault
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.library.test_handle import _once_known, asked
from tests.receiver.support import API_KEY, AUTH, SECRETS, TOKENS, Clock, settings_for, until
from tests.receiver.test_silent_providers import Scene, a_scene
from tests.stage import CLEAN, a_stage, free_port, running, wait_for

pytest.importorskip("av", reason="the sandbox makes real videos")

BY_CALLBACK = sorted(set(PROVIDERS) - {"segmind"})
WELL = ["job.succeeded", "video.stored"]


def wanted(scene: Scene, provider: str | list[str]) -> dict[str, Any]:
    video = f"{scene.sandbox.base_url}/_sandbox/source.mp4?seconds=1"
    return {"provider": provider, "video": video, "prompt": "on", "duration": 5, "quality": "360p"}


@asynccontextmanager
async def called_back(folder: Path, **options: Any) -> AsyncIterator[Scene]:
    """A scene in which PixVerse's console has the receiver's address."""
    async with a_scene(folder, **options) as scene:
        url = TOKENS.mint_account(provider="pixverse", account="default")
        entry = {
            "url": f"{scene.receiver_url}/callbacks/pixverse/{url}",
            "secret": "sandbox-webhook-secret",
            "webhook_id": "1",
        }
        answer = await scene.sandbox.post("/_sandbox/pixverse/webhooks", json=entry)
        assert answer.status_code < 300, answer.text
        yield scene


async def calls(scene: Scene, provider: str) -> dict[str, int]:
    answer = await scene.sandbox.get("/_sandbox/calls")
    return dict(answer.json()[provider])


async def verdicts(scene: Scene, job: str) -> list[tuple[str, str]]:
    async with httpx.AsyncClient(base_url=scene.receiver_url, headers=AUTH) as api:
        kept = (await api.get(f"/v1/callbacks?job={job}")).json()["data"]
    return [(each["source"], each["verdict"]) for each in reversed(kept)]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_a_lost_answer_is_one_job_billed_and_settled_or_announced(tmp_path: Path, provider: str) -> None:
    async with called_back(tmp_path, fault=Fault.LOST_ANSWER) as scene:
        try:
            job = await scene.client.submit(**wanted(scene, provider))
            assert provider == "segmind", "the receiver submits, and says so later"
        except SubmitOutcomeUnknown as error:
            job = error.job
        if provider in ("pixverse", "segmind"):  # names its own id alone, or calls nobody back
            with pytest.raises(JobOverdue) as overdue:
                await job.wait(60)
            assert overdue.value.reason.startswith("submit_unknown: ")
        else:
            assert (await job.wait(60)).type == "video.stored"
        await until(lambda: scene.has_generated(provider))
        told = await calls(scene, provider)
        assert (told["submit"], told["status"], told["billed"]) == (1, 0, 1)


@pytest.mark.parametrize("fault", [Fault.DUPLICATE, Fault.EARLY])
@pytest.mark.parametrize("provider", BY_CALLBACK)
async def test_a_callback_that_comes_twice_or_before_the_answer_is_one_video_and_one_notification(
    tmp_path: Path, provider: str, fault: Fault
) -> None:
    async with called_back(tmp_path, fault=fault) as scene:
        job = await scene.client.submit(**wanted(scene, provider))
        assert (await job.wait(60)).type == "video.stored"
        ended = [told for told in await scene.kinds_announced(job.id) if told not in ("job.queued", "job.running")]
        assert ended == WELL
        if fault is Fault.DUPLICATE:
            # PixVerse's second has the first one's nonce: it is the same callback and not kept again.
            is_repeated = _was_taken_twice(scene) if provider == "pixverse" else _has_duplicate(scene, job.id)
            await until(is_repeated)
        told = await calls(scene, provider)
        assert (told["submit"], told["status"], told["billed"]) == (1, 0, 1)


def _has_duplicate(scene: Scene, job: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return ("callback", "duplicate") in await verdicts(scene, job)

    return look


def _was_taken_twice(scene: Scene) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        (job,) = (await scene.sandbox.get("/_sandbox/jobs")).json()
        return [each["status"] for each in job["callbacks"]] == [200, 200]

    return look


@pytest.mark.parametrize("provider", ["aihubmax", "useapi"])
async def test_a_real_callback_after_the_question_is_a_duplicate(tmp_path: Path, provider: str) -> None:
    async with a_scene(tmp_path, fault=Fault.LATE, speed=150.0) as scene:  # which makes it late by 6 s
        job = await scene.client.submit(**wanted(scene, provider))
        await until(lambda: scene.has_generated(provider))
        await scene.passes(minutes=15)
        await until(lambda: scene.is_stored(job.id))
        await until(_has_duplicate(scene, job.id))
        found = await verdicts(scene, job.id)
        assert found.index(("reconcile", "applied")) < found.index(("callback", "duplicate"))
        ended = [told for told in await scene.kinds_announced(job.id) if told not in ("job.queued", "job.running")]
        assert ended == WELL


async def test_without_credits_the_next_gets_the_job_and_one_is_billed(tmp_path: Path) -> None:
    async with called_back(tmp_path, fault=Fault.NONE, credits=1) as scene:
        first = await scene.client.submit(**wanted(scene, "fal"))
        await first.wait(60)
        second = await scene.client.submit(**wanted(scene, ["fal", "useapi"]))
        assert (second.provider, [(name, type(error)) for name, error in second.tried]) == (
            "useapi",
            [("fal", InsufficientCredits)],
        )
        assert (await second.wait(60)).type == "video.stored"
        assert [(await calls(scene, name))["billed"] for name in ("fal", "useapi")] == [1, 1]


async def test_a_provider_that_is_restarted_in_mid_job_loses_it_and_that_is_announced_once(tmp_path: Path) -> None:
    """The imitation is a process of its own, killed: it has forgotten its jobs when it is back."""
    port, exports, clock = free_port(), tmp_path / "sandbox.env", Clock(datetime.now(UTC))
    command = ["sandbox", "--port", str(port), "--speed", "1"]
    async with AsyncExitStack() as stack:
        with running(*command, env=CLEAN, cwd=tmp_path, output=exports) as process:
            await asyncio.to_thread(wait_for, f"http://127.0.0.1:{port}/_sandbox/calls", process)
            names = dict(
                re.findall(r"^export REPLYHOOK_PROVIDERS__FAL__(\w+)=(.*)$", exports.read_text(), re.MULTILINE)
            )
            fal = {name.lower(): value for name, value in names.items()}
            bound = free_socket()
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            app = create_app(settings_for(tmp_path, providers={"fal": fal}, public_url=url), secrets=SECRETS, now=clock)
            await stack.enter_async_context(served(app, bound))
            sandbox = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}"))
            made = AsyncClient(receiver_url=url, api_key=API_KEY, providers={"fal": fal})
            client = await stack.enter_async_context(made)
            scene = Scene(sandbox=sandbox, receiver=app, receiver_url=url, client=client, clock=clock)
            lost = await client.submit(**wanted(scene, "fal"))
            process.kill()
            await asyncio.to_thread(process.wait)
            with pytest.raises(ProviderUnavailable):
                await client.submit(**wanted(scene, "fal"))
        with running(*command, "--speed", "1000", env=CLEAN, cwd=tmp_path, output=exports) as process:
            await asyncio.to_thread(wait_for, f"http://127.0.0.1:{port}/_sandbox/calls", process)
            for _ in range(45):
                await scene.passes(minutes=2)
                await asyncio.sleep(0.06)
            await until(lambda: scene.is_overdue(lost.id))
            assert ((await scene.known(lost.id)).overdue_reason or "").startswith("no_callback")
            assert await scene.kinds_announced(lost.id) == ["job.overdue"]
            told = await calls(scene, "fal")
            assert (told["submit"], told["status"], told["billed"]) == (0, 3, 0)


def test_a_receiver_that_is_down_costs_nothing_unless_the_client_is_detached(tmp_path: Path) -> None:
    key = "u_7:detached-0123456789-0123456789"
    with a_stage(tmp_path, reply_keys=key, allow_detached="true") as stage, Client.from_env(stage.env) as client:
        stage.kill_receiver()
        for provider in sorted(PROVIDERS):
            if provider != "pixverse":  # which needs its console's webhook first
                with pytest.raises(ReceiverUnavailable):
                    client.submit(**asked(stage, provider))
        assert all(sum(stage.calls(provider).values()) == 0 for provider in PROVIDERS)
        without = {name: value for name, value in stage.env.items() if name not in ("REPLYHOOK_API_KEY",)}
        keyed = without | {"REPLYHOOK_REPLY_KEYS": key, "REPLYHOOK_PUBLIC_URL": stage.receiver_url}
        with Client.from_env(keyed) as detached:
            made = detached.submit(**asked(stage, "fal"))
        assert stage.calls("fal")["submit"] == 1
        stage.start_receiver()
        assert _once_known(client, made.id).wait(30).type == "video.stored"
        assert stage.calls("fal")["status"] == 0
