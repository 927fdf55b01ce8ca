"""The five imitations, never calling back, over real HTTP: every job ends well or is announced, in three questions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from replyhook import AsyncClient
from replyhook.errors import SubmitOutcomeUnknown
from replyhook.providers import PROVIDERS
from replyhook_receiver.records import JobRecord
from replyhook_receiver.sandbox import Fault, SandboxOptions, create_sandbox, sandbox_settings
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.receiver.support import API_KEY, SECRETS, Clock, settings_for, until

QUESTIONS = 3
BY_CALLBACK = sorted(set(PROVIDERS) - {"segmind"})


@dataclass
class Scene:
    """A sandbox, a receiver whose clock is moved by hand, and a client of both."""

    sandbox: httpx.AsyncClient
    receiver: Starlette
    receiver_url: str
    client: AsyncClient
    clock: Clock

    async def submit(self, provider: str) -> str:
        """One job; its id, also where nobody knows what became of its submit."""
        try:
            job = await self.client.submit(
                provider=provider,
                video=f"{self.sandbox.base_url}/_sandbox/source.mp4?seconds=1",
                prompt="on",
                duration=5,
                quality="360p",
            )
        except SubmitOutcomeUnknown as error:
            return str(error.job.id)
        return str(job.id)

    async def known(self, job_id: str) -> JobRecord:
        job = await self.receiver.state.store.job(job_id)
        assert job is not None
        return job

    async def is_submitted(self, job_id: str) -> bool:
        return (await self.known(job_id)).submission is not None

    async def is_stored(self, job_id: str) -> bool:
        return (await self.known(job_id)).asset.stored_at is not None

    async def is_overdue(self, job_id: str) -> bool:
        return (await self.known(job_id)).overdue_at is not None

    async def passes(self, *, minutes: float) -> None:
        """Let time pass, and the worker see it."""
        self.clock.move(minutes=minutes)
        await self.receiver.state.store.bring_forward(timedelta(0))  # a commit that changes nothing

    async def questions(self, provider: str) -> int:
        calls = (await self.sandbox.get("/_sandbox/calls")).json()
        return int(calls[provider]["status"])

    async def has_generated(self, provider: str) -> bool:
        jobs = (await self.sandbox.get("/_sandbox/jobs")).json()
        return [job["state"] for job in jobs if job["provider"] == provider] == ["succeeded"]

    async def kinds_announced(self, job_id: str) -> list[str]:
        notifications = await self.receiver.state.store.notifications(after=0, job_id=job_id)
        return [str(notification.type) for notification in notifications]


@asynccontextmanager
async def a_scene(
    folder: Path,
    *,
    fault: Fault = Fault.NEVER,
    more: dict[str, dict[str, Any]] | None = None,
    public_url: str = "",
    **options: Any,
) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        bound, receiving = free_socket(), free_socket()
        receiver_url = f"http://127.0.0.1:{receiving.getsockname()[1]}"
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        sandbox = SandboxOptions(
            base_url=url,
            work_dir=folder / "sandbox",
            faults={"*": fault},
            pixverse_webhooks={"1": (f"{url}/nobody", "sandbox-webhook-secret")},
            **({"speed": 1000.0} | options),
        )
        providers: dict[str, dict[str, Any]] = {
            name: {**values, **(more or {}).get(name, {})} for name, values in sandbox_settings(sandbox).items()
        }
        providers["segmind"]["mode"] = "v2"
        clock = Clock(datetime.now(UTC))
        settings = settings_for(folder, providers=providers, public_url=public_url or receiver_url)
        app = create_app(settings, secrets=SECRETS, now=clock)
        await stack.enter_async_context(served(create_sandbox(sandbox), bound))
        await stack.enter_async_context(served(app, receiving))
        client = AsyncClient(receiver_url=receiver_url, api_key=API_KEY, providers=providers)
        yield Scene(
            sandbox=await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)),
            receiver=app,
            receiver_url=receiver_url,
            client=await stack.enter_async_context(client),
            clock=clock,
        )


@pytest.mark.parametrize("provider", BY_CALLBACK)
async def test_a_job_that_is_done_but_never_called_back_ends_well(tmp_path: Path, provider: str) -> None:
    async with a_scene(tmp_path) as scene:
        job = await scene.submit(provider)
        await until(lambda: scene.has_generated(provider))
        assert await scene.questions(provider) == 0
        await scene.passes(minutes=15)
        await until(lambda: scene.is_stored(job))
        assert await scene.kinds_announced(job) == ["job.succeeded", "video.stored"]
        assert 1 <= await scene.questions(provider) <= QUESTIONS


async def test_aihubmax_with_callbacks_switched_off_ends_well(tmp_path: Path) -> None:
    """Its callback for this model is undocumented: this is the net below it."""
    off = {"aihubmax": {"send_callback_url": False}}
    async with a_scene(tmp_path, fault=Fault.NONE, more=off) as scene:
        job = await scene.submit("aihubmax")
        await until(lambda: scene.has_generated("aihubmax"))
        await scene.passes(minutes=15)
        await until(lambda: scene.is_stored(job))
        assert await scene.questions("aihubmax") == 1


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_a_job_that_never_ends_is_asked_about_three_times_and_announced(tmp_path: Path, provider: str) -> None:
    async with a_scene(tmp_path, generation_seconds=10**9) as scene:
        job = await scene.submit(provider)
        await until(lambda: scene.is_submitted(job))
        for _ in range(60):
            await scene.passes(minutes=2)
            await asyncio.sleep(0.06)
        await until(lambda: scene.is_overdue(job))
        assert ((await scene.known(job)).overdue_reason or "").startswith("no_callback")
        assert await scene.questions(provider) == QUESTIONS
        assert await scene.kinds_announced(job) == ["job.overdue"]


async def test_a_submit_lost_at_pixverse_is_announced_at_once_and_bound_by_hand(tmp_path: Path) -> None:
    async with a_scene(tmp_path, fault=Fault.LOST_ANSWER) as scene:
        job = await scene.submit("pixverse")
        known = await scene.known(job)
        assert known.overdue_reason is not None
        assert known.overdue_reason.startswith("submit_unknown: ")
        assert await scene.kinds_announced(job) == ["job.overdue"]
        await until(lambda: scene.has_generated("pixverse"))
        (there,) = (await scene.sandbox.get("/_sandbox/jobs")).json()
        headers = {"authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=scene.receiver_url, headers=headers) as api:
            content = {"outcome": "accepted", "provider_job_id": there["id"]}
            assert (await api.post(f"/v1/jobs/{job}/submission", json=content)).status_code == 200
        await until(lambda: scene.is_stored(job))
        assert await scene.kinds_announced(job) == ["job.overdue", "job.succeeded", "video.stored"]
        calls = (await scene.sandbox.get("/_sandbox/calls")).json()["pixverse"]
        assert (calls["submit"], calls["status"], calls["billed"]) == (1, 1, 1)


async def test_a_submit_lost_at_useapi_is_found_in_its_list_by_our_own_id(tmp_path: Path) -> None:
    """The answer to the submit is lost, and so is every callback: they go to an address where nobody is."""
    with free_socket() as nobody:
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    async with a_scene(tmp_path, fault=Fault.LOST_ANSWER, public_url=nowhere) as scene:
        job = await scene.submit("useapi")
        assert (await scene.known(job)).provider_job_id is None
        await until(lambda: scene.has_generated("useapi"))
        await scene.passes(minutes=15)
        await until(lambda: scene.is_stored(job))
        calls = (await scene.sandbox.get("/_sandbox/calls")).json()["useapi"]
        assert (calls["submit"], calls["status"], calls["billed"]) == (1, 1, 1)
