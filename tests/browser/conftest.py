"""Debian's Chromium, driven by Playwright; a receiver, and a page of somebody who has signed in."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from replyhook import Client
from replyhook.ids import new_id
from tests.stage import KEY, Stage, a_stage

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 20_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="package")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A receiver, and providers that take about four seconds for a job."""
    with a_stage(tmp_path_factory.mktemp("stage"), speed=12) as stage:
        yield stage


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no browser here: none of {', '.join(NAMES)} (apt-get install chromium)")
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as which CI runs.
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=found, args=[*options, "--mute-audio"])
        yield browser
        await browser.close()


@dataclass
class Visit:
    """A page of a browser, and what it complained about."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def sign_in(self, key: str = KEY) -> None:
        await self.go("/sign-in")
        await self.page.fill("#key", key)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_url(self.url + "/")


@asynccontextmanager
async def a_visit(
    browser: Browser,
    stage: Stage,
    *,
    key: str | None = KEY,
    width: int = 1280,
    scheme: str = "light",
    zone: str = "UTC",
) -> AsyncIterator[Visit]:
    """A browser at the dashboard; at its end it must have had nothing to complain about: nothing blocked, no error."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id=zone,
        locale="en-GB",
    )
    context.set_default_timeout(WAIT_MS)
    visit = Visit(await context.new_page(), stage.receiver_url)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda said: visit.complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    try:
        if key is not None:
            await visit.sign_in(key)
        yield visit
        assert visit.complaints == []
    finally:
        await context.close()


async def eventually(page: Page, expression: str) -> None:
    """Wait until it is true; Playwright's own way needs ``eval``, which our pages forbid."""
    async with asyncio.timeout(WAIT_MS / 1000):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


def submitted(stage: Stage, *, provider: str = "useapi", reference: str | None = None, wait: bool = True) -> str:
    """A job of the library's, waited for until its video is stored; its id."""
    with Client.from_env(stage.env) as client:
        asked = {"video": stage.source, "prompt": "on", "duration": 5, "quality": "360p", "user": "u_7"}
        job = client.submit(provider=provider, reply_ref=reference, **asked)  # type: ignore[arg-type] # texts and a number
        if wait:
            job.wait(timeout=60)
        return str(job.id)


def told(stage: Stage, *, reference: str, body: bytes) -> str:
    """A job that somebody registered, and called back about with ``body``; its id."""
    job, auth = new_id("job"), {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=stage.receiver_url, headers=auth) as client:
        registered = client.put(f"/v1/jobs/{job}", json={"provider": "useapi", "reference": reference})
        assert registered.status_code == 200, registered.text
        kind = {"content-type": "application/json"}
        assert client.post(registered.json()["reply_url"], content=body, headers=kind).status_code == 200
    return job
