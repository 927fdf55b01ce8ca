"""What an operator does at the dashboard by day and night: replay, bulk retry, a new endpoint, a pause."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from replyhook.ids import new_id
from tests.browser.conftest import a_visit, told
from tests.browser.test_accessibility import faults
from tests.stage import KEY, Stage

AUTH = {"authorization": f"Bearer {KEY}"}
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@dataclass
class Shop:
    """A place that is notified, gone at first."""

    url: str = ""
    status: int = 410
    heard: int = 0


@contextmanager
def a_shop() -> Iterator[Shop]:
    """One that really listens."""
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            shop.heard += 1
            content = HOSTILE.encode()
            self.send_response(shop.status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        shop.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield shop
        finally:
            server.shutdown()


async def some_dead(stage: Stage, shop: Shop, *, count: int) -> list[str]:
    """Jobs whose end their places did not want to hear of; the places are enabled again. The jobs' ids."""
    jobs = [new_id("job") for _ in range(count)]
    async with httpx.AsyncClient(base_url=stage.receiver_url, headers=AUTH, timeout=20) as client:
        for job in jobs:
            content = {"provider": "useapi", "notify": [{"url": shop.url}]}
            registered = await client.put(f"/v1/jobs/{job}", json=content)
            assert registered.status_code == 200, registered.text
            refused = {"outcome": "refused", "error": "no credits"}
            assert (await client.post(f"/v1/jobs/{job}/submission", json=refused)).status_code == 200
            async with asyncio.timeout(20):
                while not (await client.get(f"/v1/deliveries?job={job}&status=dead")).json()["data"]:
                    await asyncio.sleep(0.05)
            for place in (await client.get(f"/v1/endpoints?job={job}")).json()["data"]:
                assert (await client.patch(f"/v1/endpoints/{place['id']}", json={"enabled": True})).is_success
    return jobs


async def test_a_callback_is_replayed_after_it_was_seen_what_would_come_of_it(browser: Browser, stage: Stage) -> None:
    body = json.dumps({"video_id": "v-replayed", "video_status_name": "FAILED", "error_message": HOSTILE}).encode()
    job = await asyncio.to_thread(told, stage, reference=HOSTILE, body=body)
    async with a_visit(browser, stage) as visit:
        page = visit.page
        await visit.go(f"/callbacks?job={job}")
        await page.locator("tbody th a").click()
        await expect(page.locator("pre")).to_contain_text("onerror")
        assert await faults(page) == []
        await page.get_by_label("Apply it to its job").check()
        await page.get_by_role("button", name="Show what would come of it").click()
        await expect(page.locator("#would")).to_be_focused()
        await expect(page.locator(".stress")).to_contain_text("duplicate")
        assert await faults(page) == []
        await page.get_by_role("button", name="Do it").click()
        await expect(page.get_by_role("status")).to_contain_text("taken once more: duplicate")
        await expect(page.locator("section", has_text="Done by hand").locator("tbody tr")).to_contain_text("replay")
        assert "owned" not in await page.title()


async def test_dead_letters_are_put_back_together_after_it_was_seen_which(browser: Browser, stage: Stage) -> None:
    with a_shop() as shop:
        jobs = await some_dead(stage, shop, count=3)
        async with a_visit(browser, stage) as visit:
            page = visit.page
            await visit.go(f"/deliveries?status=dead&job={jobs[0]}")
            await page.locator("tbody th a").click()
            await expect(page.locator("pre")).to_contain_text("<script>")
            assert await faults(page) == []
            await visit.go("/deliveries?status=dead&error=answered+410")
            await expect(page.locator("tbody tr")).to_have_count(3)
            await page.get_by_role("button", name="Put dead letters back…").click()
            await expect(page.locator("#would")).to_contain_text("3 deliveries would be tried again")
            await expect(page.locator("tbody tr")).to_have_count(3)
            assert await faults(page) == []
            assert shop.heard == 3
            shop.status = 200
            await page.get_by_role("button", name="Put 3 back").click()
            await expect(page.get_by_role("status")).to_contain_text("3 deliveries put back")
            await visit.go(f"/deliveries?job={jobs[0]}")
            await expect(page.locator("tbody tr")).to_contain_text("delivered")  # by itself, without a reload
            assert "owned" not in await page.title()
        assert shop.heard == 6


@pytest.mark.parametrize("width", [1280, 390])
async def test_an_endpoint_is_added_tried_and_removed(browser: Browser, stage: Stage, width: int) -> None:
    with a_shop() as shop:
        async with a_visit(browser, stage, width=width, scheme="dark") as visit:
            page = visit.page
            await visit.go("/endpoints")
            if await page.locator("details:not([open])").count():
                await page.locator("summary").click()
            await page.get_by_role("textbox", name="URL").fill(shop.url)
            await page.get_by_label("Name", exact=True).fill("the shop")
            await page.get_by_label("job.failed").check()
            await page.get_by_role("button", name="Add it").click()
            await expect(page.locator(".once code").first).to_contain_text("whsec_")
            await expect(page.locator("#secret")).to_be_focused()
            assert await faults(page) == []
            await page.get_by_role("button", name="Send a test").click()
            await page.get_by_role("dialog").get_by_role("button", name="Send a test").click()
            await expect(page.locator(".stress")).to_contain_text("410")
            await expect(page.locator(".stress pre")).to_contain_text("<script>")
            await expect(page.locator("main")).not_to_contain_text("whsec_")
            assert await faults(page) == []
            assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            await page.get_by_role("button", name="Remove").click()
            await page.get_by_role("dialog").get_by_role("button", name="Leave it").click()
            await page.get_by_role("button", name="Remove").click()
            await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
            await expect(page.get_by_role("status")).to_contain_text("is removed")
        assert shop.heard == 1


async def test_the_work_is_paused_and_goes_on(browser: Browser, stage: Stage) -> None:
    async with a_visit(browser, stage) as visit:
        page = visit.page
        await visit.go("/settings")
        await expect(page.locator("main")).to_contain_text("REPLYHOOK_API_KEYS")
        await expect(page.locator("main")).not_to_contain_text(KEY)
        await page.get_by_label("What for").fill("a look at it")
        await page.get_by_role("button", name="Pause the work").click()
        await page.get_by_role("dialog").get_by_role("button", name="Pause it").click()
        await expect(page.locator("#work")).to_contain_text("paused")
        await expect(page.locator(".stress")).to_contain_text("a look at it")
        assert await faults(page) == []
        await page.get_by_role("button", name="Go on").click()
        await page.get_by_role("dialog").get_by_role("button", name="Go on").click()
        await expect(page.locator("#work")).to_contain_text("running")
