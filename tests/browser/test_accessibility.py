"""axe-core finds no serious fault on any page, in light and dark; and no page is wider than a phone."""

import asyncio
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import a_visit, submitted, told
from tests.stage import Stage

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
PAGES = (
    "/",
    "/jobs",
    "/jobs?status=canceled",
    "job",
    "failed job",
    "/callbacks",
    "/deliveries",
    "/endpoints",
    "/providers",
    "/settings",
    "/search?name=nothing",
)
RUN = "axe.run(document, {resultTypes: ['violations']})"


@pytest.fixture(scope="module")
def jobs(stage: Stage) -> dict[str, str]:
    failed = b'{"video_id": "v", "video_status_name": "FAILED", "error_message": "no"}'
    return {
        "job": submitted(stage, reference="seen by all"),
        "failed job": told(stage, reference="failed", body=failed),
    }


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
    browser: Browser, stage: Stage, jobs: dict[str, str], scheme: str, width: int
) -> None:
    problems: dict[str, object] = {}
    async with a_visit(browser, stage, scheme=scheme, width=width) as visit:
        for name in PAGES:
            path = f"/jobs/{jobs[name]}" if name in jobs else name
            answer = await visit.page.goto(visit.url + path)
            assert answer is not None
            if answer.status == 404:  # a page that is not built yet is seen as the page of what is not there
                visit.complaints.clear()
            for summary in await visit.page.locator("details > summary").all():
                await summary.click()
            problems[name] = await faults(visit.page)
            if not await visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"):
                problems[f"{name} is too wide"] = ["it scrolls sideways"]
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_way_in_and_the_question_before_a_deed_have_none_either(
    browser: Browser, stage: Stage, jobs: dict[str, str], scheme: str
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
        await visit.go(f"/jobs/{jobs['job']}")
        await visit.page.get_by_role("button", name="Replay").last.click()
        await asyncio.sleep(0.5)
        assert await faults(visit.page) == []
