"""What people do at the dashboard: sign in, watch a job, play its video, replay a callback; and what strangers try."""

import asyncio
import json
import re

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import a_visit, eventually, submitted, told
from tests.stage import KEY, Stage

SCRIPT = "<script>document.title='owned'</script>"
HOSTILE = (
    SCRIPT,
    '"><img src=x onerror="document.title=\'owned\'">',
    "'-document.write('owned')-'",
    "\u202egnp.elif\u202c",
    "ten thousand letters " + "x" * 10_000,
)


async def test_signing_in_and_out_by_keyboard_alone(browser: Browser, stage: Stage) -> None:
    async with a_visit(browser, stage, key=None) as visit:
        page = visit.page
        await visit.go("/jobs?status=failed")
        await expect(page).to_have_title("Sign in · replyhook")
        await page.keyboard.type(KEY)  # the field has the focus
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/jobs?status=failed")
        await visit.go("/")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("Enter")
        assert page.url.endswith("#main")
        await page.get_by_role("button", name="Sign out").focus()
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/sign-in")
        await visit.go("/")
        await expect(page.get_by_label("API key")).to_be_visible()


async def test_a_wrong_key_is_told_so_and_stays_outside(browser: Browser, stage: Stage) -> None:
    async with a_visit(browser, stage, key=None) as visit:
        await visit.go("/sign-in")
        await visit.page.fill("#key", "rhk_wrong")
        await visit.page.keyboard.press("Enter")
        await expect(visit.page.get_by_role("alert")).to_contain_text("no valid key")
        visit.complaints.clear()  # that the answer was 401


async def test_a_job_appears_and_goes_through_live_without_a_reload(browser: Browser, stage: Stage) -> None:
    async with a_visit(browser, stage) as visit:
        page = visit.page
        await visit.go("/jobs")
        await page.evaluate("window.sameAsBefore = true")
        job = await asyncio.to_thread(submitted, stage, reference="live one", wait=False)
        row = page.locator(f"#row-{job}")
        await expect(row).to_contain_text(re.compile("submitted|queued|running"))
        await expect(row).to_contain_text("succeeded")
        await expect(row).to_contain_text("stored")
        assert await page.evaluate("window.sameAsBefore") is True


async def test_a_jobs_page_fills_while_one_looks_and_its_video_plays(browser: Browser, stage: Stage) -> None:
    async with a_visit(browser, stage) as visit:
        page = visit.page
        job = await asyncio.to_thread(submitted, stage, reference="to be watched", wait=False)
        await visit.go(f"/jobs/{job}")
        await page.evaluate("window.sameAsBefore = true")
        await expect(page.locator("h1")).to_have_text("to be watched")
        video = page.locator("video")
        await expect(video).to_be_visible()
        await eventually(page, "document.querySelector('video').readyState >= 1")
        assert await video.evaluate("v => v.duration") > 3
        await video.evaluate("v => v.play()")
        await eventually(page, "document.querySelector('video').currentTime > 0.2")
        assert (await page.request.get(visit.url + (await video.get_attribute("poster") or ""))).status == 200
        await page.get_by_text("Headers and body").last.click()
        await expect(page.locator("details[open] pre").last).to_contain_text("video_status_name")
        # What happens then leaves alone what is open and what plays.
        await asyncio.to_thread(submitted, stage, wait=False)
        await asyncio.sleep(2.5)
        assert await page.locator("details[open]").count() == 1
        assert await video.evaluate("v => v.currentTime") > 0.2
        assert await page.evaluate("window.sameAsBefore") is True


async def test_a_replay_is_asked_about_done_and_noted(browser: Browser, stage: Stage) -> None:
    job = await asyncio.to_thread(submitted, stage, reference="to be replayed")
    async with a_visit(browser, stage) as visit:
        page = visit.page
        await visit.go(f"/jobs/{job}")
        replay = page.get_by_role("button", name="Replay").last
        await replay.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Take this callback once more")
        await dialog.get_by_role("button", name="Leave it").click()
        await expect(dialog).to_be_hidden()
        await expect(page.get_by_text("Done by hand")).to_have_count(0)
        await replay.click()
        await dialog.get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("status")).to_contain_text("replayed: the job is succeeded")
        row = page.locator("section", has_text="Done by hand").locator("tbody tr")
        await expect(row).to_contain_text("a key of the settings")
        await expect(row).to_contain_text("replay")
        await expect(page.locator("li.callback", has_text="Replay of a callback")).to_have_count(1)


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "image", "quotes", "reversed", "long"])
async def test_what_strangers_write_is_shown_and_never_run(browser: Browser, stage: Stage, text: str) -> None:
    content = {"video_id": text[:100], "video_status_name": "FAILED", "error_message": text[:500], "note": text}
    job = await asyncio.to_thread(told, stage, reference=text[:200], body=json.dumps(content).encode())
    async with a_visit(browser, stage, width=390) as visit:
        page = visit.page
        await visit.go("/jobs")
        await expect(page.locator(f"#row-{job}")).to_be_visible()
        await visit.go(f"/jobs/{job}")
        await page.get_by_text("Headers and body").last.click()
        assert await page.title() != "owned"
        shown = await page.locator("details[open] pre").last.inner_text()
        expected = text.replace("\u202e", "[U+202E]").replace("\u202c", "[U+202C]")
        assert json.dumps(expected, ensure_ascii=False)[1:-1] in shown
        assert await page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_times_are_in_the_viewers_zone(browser: Browser, stage: Stage) -> None:
    await asyncio.to_thread(told, stage, reference="timed", body=b"{}")
    async with a_visit(browser, stage, zone="Asia/Kathmandu") as visit:  # 5 h 45 min ahead
        await visit.go("/jobs")
        moment = visit.page.locator("time").first
        at = await moment.get_attribute("datetime") or ""
        minutes = await visit.page.evaluate("at => new Date(at).getMinutes()", at)
        assert f":{minutes:02d}:" in await moment.inner_text()
        assert minutes != int(at[14:16])


async def test_a_moment_is_asked_for_as_it_is_seen(browser: Browser, stage: Stage) -> None:
    await asyncio.to_thread(told, stage, reference="asked for", body=b"{}")
    async with a_visit(browser, stage, zone="Asia/Kathmandu") as visit:
        await visit.go("/jobs")
        await expect(visit.page.locator("footer [data-zone]")).to_have_text(re.compile("Asia/Kath?mandu"))
        seen = visit.page.locator("time").first
        shift = "at => new Date(new Date(at).getTime() + 345 * 60000 + %d).toISOString().slice(0, 16)"
        at = await seen.get_attribute("datetime") or ""
        before, after = [await visit.page.evaluate(shift % ms, at) for ms in (-120_000, 120_000)]
        field, rows = visit.page.locator("[name=created_after]"), visit.page.locator("tbody tr")
        await field.fill(before)
        await visit.page.get_by_role("button", name="Filter").click()
        await expect(field).to_have_value(before)
        assert await rows.count() > 0
        await field.fill(after)
        await visit.page.get_by_role("button", name="Filter").click()
        await expect(field).to_have_value(after)
        await expect(visit.page.get_by_text("No job is like that")).to_be_visible()


async def test_a_search_from_any_page_leads_to_what_is_called_so(browser: Browser, stage: Stage) -> None:
    job = await asyncio.to_thread(told, stage, reference="looked for", body=b"{}")
    async with a_visit(browser, stage, width=390) as visit:
        await visit.go("/deliveries")
        box = visit.page.get_by_role("searchbox", name="Search by an id or a reference")
        await box.fill("looked for")
        await visit.page.keyboard.press("Enter")
        await visit.page.wait_for_url(f"**/jobs/{job}")
        nobodys = f"nobody's {SCRIPT}"
        await box.fill(nobodys)
        await visit.page.keyboard.press("Enter")
        await expect(visit.page.locator("main")).to_contain_text("What can be searched")
        await expect(box).to_have_value(nobodys)
        assert await visit.page.title() == "Search · replyhook"


async def test_the_overview_leads_to_the_lost_videos_that_it_counts(browser: Browser, stage: Stage) -> None:
    gone = {"url": "https://10.1.2.3/private.mp4", "video_id": "v", "video_status_name": "COMPLETED"}
    job = await asyncio.to_thread(told, stage, reference="lost", body=json.dumps(gone).encode())
    async with (
        httpx.AsyncClient(base_url=stage.receiver_url, headers={"authorization": f"Bearer {KEY}"}) as client,
        asyncio.timeout(20),
    ):
        while (await client.get("/v1/jobs?video=lost&reference=lost")).json()["data"] == []:
            await asyncio.sleep(0.1)
    async with a_visit(browser, stage) as visit:
        card = visit.page.locator(".card", has_text="Videos lost")
        await card.get_by_role("link", name="Show them").click()
        await visit.page.wait_for_url("**/jobs?video=lost")
        await expect(visit.page.locator(f"#row-{job}")).to_contain_text("failed")


async def test_a_phone_shows_the_list_first_and_its_filters_when_they_are_opened(
    browser: Browser, stage: Stage
) -> None:
    async with a_visit(browser, stage, width=390) as visit:
        for path in ("/jobs", "/callbacks", "/deliveries"):
            await visit.go(path)
            button = visit.page.get_by_role("button", name="Filter")
            await expect(button).to_be_hidden()
            await visit.page.locator(".of-filters > summary").click()
            await expect(button).to_be_visible()


async def test_an_open_page_goes_to_sign_in_when_its_key_is_revoked(browser: Browser, stage: Stage) -> None:
    auth = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=stage.receiver_url, headers=auth) as client:
        made = (await client.post("/v1/keys", json={"scopes": ["read"], "name": "for a while"})).json()
        async with a_visit(browser, stage, key=made["key"]) as visit:
            await visit.go("/jobs")
            await expect(visit.page.locator("h1")).to_have_text("Jobs")
            await client.delete(f"/v1/keys/{made['id']}")
            await asyncio.to_thread(told, stage, reference="afterwards", body=b"{}")
            await visit.page.wait_for_url("**/sign-in")
            visit.complaints.clear()  # that the part of the page was 401


async def test_a_reader_sees_no_button_to_press(browser: Browser, stage: Stage) -> None:
    job = await asyncio.to_thread(told, stage, reference="only to look at", body=b"{}")
    async with httpx.AsyncClient(base_url=stage.receiver_url, headers={"authorization": f"Bearer {KEY}"}) as client:
        made = (await client.post("/v1/keys", json={"scopes": ["read"]})).json()
    async with a_visit(browser, stage, key=made["key"]) as visit:
        await visit.go(f"/jobs/{job}")
        await expect(visit.page.locator("main form[method=post]")).to_have_count(0)
