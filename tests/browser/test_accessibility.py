"""axe-core finds no serious fault on any page, in light and dark; and no page is wider than a phone."""

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page

from replyhook_receiver.web.dashboard.pages import NAV as NAV_OF_ALL
from tests.browser.conftest import Visit, a_visit, submitted, told
from tests.stage import KEY, Stage

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
PAGES = (
    "/",
    "/jobs",
    "/jobs?status=canceled",
    "job",
    "failed job",
    "/callbacks",
    "callback",
    "/deliveries",
    "delivery",
    "bulk retry",
    "/endpoints",
    "endpoint",
    "/providers",
    "/settings",
    "/search?name=nothing",
)
NAV = "[...document.querySelectorAll('nav[aria-label=Pages] a')].map(link => link.getBoundingClientRect().toJSON())"
RUN = "axe.run(document, {resultTypes: ['violations']})"


@pytest.fixture(scope="module")
def paths(stage: Stage) -> Iterator[dict[str, str]]:
    """Where the pages are of what there is now: jobs, and what belongs to one that failed. Gone afterwards."""
    told_of_it = b'{"video_id": "v", "video_status_name": "FAILED", "error_message": "no"}'
    auth = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=stage.receiver_url, headers=auth, timeout=20) as client:
        added = client.post("/v1/endpoints", json={"url": f"{stage.receiver_url}/none?key=geheim", "name": "a shop"})
        assert added.status_code == 201, added.text
        job, failed = submitted(stage, reference="seen by all"), told(stage, reference="failed", body=told_of_it)
        (callback,) = client.get(f"/v1/callbacks?job={failed}").json()["data"]
        (delivery,) = client.get(f"/v1/deliveries?job={failed}").json()["data"]
        client.put("/v1/hold?reason=seen").raise_for_status()
        client.delete("/v1/hold").raise_for_status()
    yield {
        "job": f"/jobs/{job}",
        "failed job": f"/jobs/{failed}",
        "callback": f"/callback/{callback['id']}",
        "delivery": f"/deliveries/{delivery['id']}",
        "bulk retry": f"/deliveries?job={failed}",
        "endpoint": f"/endpoints/{added.json()['id']}",
    }
    with httpx.Client(base_url=stage.receiver_url, headers=auth) as client:
        client.delete(f"/v1/endpoints/{added.json()['id']}").raise_for_status()


async def shown(visit: Visit, name: str, path: str) -> None:
    """Go to a page, which is there; to that of a bulk retry by its form."""
    answer = await visit.page.goto(visit.url + path)
    if name == "bulk retry":
        async with visit.page.expect_navigation() as leaving:
            await visit.page.get_by_role("button", name="Put dead letters back…").click()
        answer = await leaving.value
    assert answer is not None
    assert answer.status == 200, name


async def faults(page: Page) -> list[str]:
    """What is serious or critical. The script comes by the debugger, which the page's policy does not concern."""
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate(RUN)
    return [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]} {each['nodes'][0].get('failureSummary')}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_no_page_has_a_serious_fault_and_none_is_wider_than_its_window(
    browser: Browser, stage: Stage, paths: dict[str, str], scheme: str, width: int
) -> None:
    problems: dict[str, object] = {}
    async with a_visit(browser, stage, scheme=scheme, width=width) as visit:
        for name in PAGES:
            await shown(visit, name, paths.get(name, name))
            for summary in await visit.page.locator("details > summary").all():
                await summary.click()
            problems[name] = await faults(visit.page)
            if not await visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"):
                problems[f"{name} is too wide"] = ["it scrolls sideways"]
            links = await visit.page.evaluate(NAV)
            if len(links) != len(NAV_OF_ALL) or any(each["left"] < 0 or each["right"] > width for each in links):
                problems[f"{name} has links out of sight"] = links
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_way_in_and_the_question_before_a_deed_have_none_either(
    browser: Browser, stage: Stage, paths: dict[str, str], scheme: str
) -> None:
    async with a_visit(browser, stage, key=None, scheme=scheme, width=390) as visit:
        await visit.go("/sign-in")
        assert await faults(visit.page) == []
        await visit.page.fill("#key", "rhk_wrong")
        await visit.page.keyboard.press("Enter")
        await visit.page.get_by_role("alert").wait_for()
        assert await faults(visit.page) == []
        visit.complaints.clear()
        await visit.sign_in()
        await visit.go(paths["job"])
        await visit.page.get_by_role("button", name="Replay").last.click()
        await asyncio.sleep(0.5)
        assert await faults(visit.page) == []
