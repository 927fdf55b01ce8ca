"""Submits that the receiver relays to imitations which are in the middle of them for a while, and what they came to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from replyhook_receiver.sandbox.app import create_sandbox, sandbox_settings
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.serving import free_socket, served
from tests.faults.harness import AUTH, Server

# fal answers the submit only after its callback, and Segmind with the video: both are in the middle for a while.
PROMPTS = {"fal": "on [[fault:early]]", "segmind": "on"}


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The imitations, each job of which takes about a second and a half."""

    url: str
    settings: dict[str, str]

    async def calls(self, provider: str) -> dict[str, int]:
        """What the provider was asked, and what it billed."""
        async with httpx.AsyncClient(trust_env=False) as client:
            content: dict[str, dict[str, int]] = (await client.get(f"{self.url}/_sandbox/calls")).json()
        return content[provider]

    async def all_have(self, count: str) -> bool:
        return all([(await self.calls(provider))[count] == 1 for provider in PROMPTS])


@asynccontextmanager
async def a_sandbox(folder: Path) -> AsyncIterator[Sandbox]:
    """One that runs as long as the context, and what a receiver has to be told of it."""
    with free_socket() as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        options = SandboxOptions(base_url=url, work_dir=folder, speed=30)
        told = sandbox_settings(options)
        settings = {
            f"PROVIDERS__{provider.upper()}__{name.upper()}": value
            for provider in PROMPTS
            for name, value in told[provider].items()
        }
        async with served(create_sandbox(options), bound):
            yield Sandbox(url=url, settings=settings)


async def relay(server: Server, sandbox: Sandbox, provider: str) -> str:
    """Have the receiver submit a job; its id."""
    content = {
        "provider": provider,
        "video": f"{sandbox.url}/_sandbox/source.mp4?seconds=1",
        "request": {"prompt": PROMPTS[provider]},
    }
    async with server.client() as client:
        answer = await client.post("/v1/jobs", json=content, headers=AUTH)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def shown(server: Server, job_id: str) -> dict[str, Any]:
    """A job, as the receiver tells it."""
    async with server.client() as client:
        content: dict[str, Any] = (await client.get(f"/v1/jobs/{job_id}", headers=AUTH)).json()
    return content
