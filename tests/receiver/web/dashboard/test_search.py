"""*Search* and the lists that *Overview* leads to: from a name or a number to what it stands for, without a script."""

import re
import sqlite3
from contextlib import closing
from html import unescape
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.receiver.support import Host, Receiver, says, until, useapi_body
from tests.receiver.web.dashboard.visiting import a_visitor
from tests.receiver.web.test_deliveries import a_refused_job

HOSTILE = '"><script>alert(1)</script>'


async def a_failed_job(receiver: Receiver, host: Host, *, user: str = "ann", reference: str = "order-42") -> str:
    hook = [{"url": host.will("/hook", says(204))}]
    job, path = await receiver.register(user=user, reference=reference, notify=hook)
    await receiver.submitted(job, f"v-{job}")
    told = useapi_body(job, "FAILED", video_id=f"v-{job}")
    assert (await receiver.client.post(path, content=told)).status_code == 200
    await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status <> 'delivered'") == [(0,)])
    return job


async def test_a_name_leads_to_its_page_whatever_it_names(receiver: Receiver, host: Host) -> None:
    job = await a_failed_job(receiver, host)
    callback = (await receiver.callbacks(job))[0]["id"]
    ((delivery,),) = receiver.rows("SELECT id FROM deliveries")
    ((notification,),) = receiver.rows("SELECT id FROM notifications")
    pages = {
        job: f"/jobs/{job}",
        f"v-{job}": f"/jobs/{job}",
        " order-42 ": f"/jobs/{job}",
        callback: f"/callback/{callback}",
        callback.replace("cb_", "evt_"): f"/callback/{callback}",
        delivery: f"/deliveries/{delivery}",
        notification: f"/jobs/{job}#at-{notification}",
    }
    async with a_visitor(receiver) as visitor:
        for name, page in pages.items():
            answer = await visitor.get(f"/search?name={quote(name)}")
            assert (answer.status_code, answer.headers.get("location")) == (303, page), name
        shown = await visitor.get(f"/jobs/{job}")
    assert f'id="at-{notification}"' in shown.text
    assert 'action="/search"' in shown.text


async def test_what_several_are_called_is_a_list_and_leads_to_all_of_it(receiver: Receiver, host: Host) -> None:
    jobs = [await a_failed_job(receiver, host, reference="R & D") for _ in range(2)]
    async with a_visitor(receiver) as visitor:
        page = await visitor.get(f"/search?name={quote('R & D')}")
        assert page.status_code == 200
        assert all(f'href="/jobs/{job}"' in page.text for job in jobs)
        assert "/jobs?reference=R+%26+D" in unescape(page.text)
        assert 'value="R &amp; D"' in page.text


@pytest.mark.parametrize(
    "name", ["", "  ", "%00", "x" * 1025, "nobody", quote(HOSTILE), "%E2%80%AE", "ntf_01m80snpw6a533cdcef1d41b23"]
)
async def test_where_nothing_is_called_so_it_is_said_what_can_be_searched(receiver: Receiver, name: str) -> None:
    async with a_visitor(receiver) as visitor:
        page = await visitor.get(f"/search?name={name}")
    assert page.status_code == 200
    assert "What can be searched" in page.text
    assert HOSTILE not in page.text
    assert "<script>" not in page.text
    assert "\u202e" not in page.text.partition("<main")[2]


async def test_a_users_key_finds_the_users_alone(receiver: Receiver, host: Host) -> None:
    anns = await a_failed_job(receiver, host)
    bobs = await a_failed_job(receiver, host, user="bob", reference="order-43")
    told = "SELECT d.id, n.id, n.job_id FROM deliveries d JOIN notifications n ON n.sequence = d.notification"
    key = (await receiver.key("read", user="ann"))["authorization"].removeprefix("Bearer ")
    async with a_visitor(receiver, key=key) as ann:
        assert (await ann.get("/search?name=order-42")).headers["location"] == f"/jobs/{anns}"
        callback = (await receiver.callbacks(bobs))[0]["id"]
        others = [each for *ids, job in receiver.rows(told) if job == bobs for each in ids]
        for name in (bobs, f"v-{bobs}", "order-43", callback, *others):
            page = await ann.get(f"/search?name={name}")
            assert (page.status_code, "Nothing is called so" in page.text) == (200, True), name


async def test_the_numbers_of_the_overview_lead_to_lists_as_long(receiver: Receiver, host: Host) -> None:
    jobs = [await a_failed_job(receiver, host) for _ in range(4)]
    overdue, lost, expiring, _ = jobs
    late = "UPDATE jobs SET status = 'running', overdue_ms = 5, overdue_reason = 'no_callback' WHERE id = ?"
    video = "INSERT INTO assets (job_id, status, expires_ms) VALUES (?, ?, 5)"
    warned = """
        INSERT INTO tasks (kind, subject, state, attempts, due_ms, created_ms) VALUES ('expiring', ?, 'done', 1, 5, 5)
    """
    with closing(sqlite3.connect(receiver.settings.database_path)) as raw, raw:
        raw.execute(late, (overdue,))
        raw.executemany(video, [(lost, "expired"), (expiring, "pending")])
        raw.execute(warned, (expiring,))
    async with a_visitor(receiver) as visitor:
        overview = unescape((await visitor.get("/")).text)
        for link, job in (
            ("/jobs?overdue=true", overdue),
            ("/jobs?video=lost", lost),
            ("/jobs?expiring=true", expiring),
        ):
            assert f'href="{link}"' in overview
            listed = (await visitor.get(link)).text
            assert [each for each in jobs if f'id="row-{each}"' in listed] == [job]


async def test_an_empty_page_of_a_long_list_leads_on(
    receiver: Receiver, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await a_refused_job(receiver, host.will("/gone", says(410)))
        job, path = await receiver.register("useapi", notify=[])
        assert (await receiver.client.post(path, content=useapi_body(job, video_id=job))).status_code == 200
    await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status = 'dead'") == [(3,)])
    whole = receiver.app.state.store.windows.bottom

    async def one_at_a_time(of: object, *, before: str | None = None, rows: int = 1) -> str | None:
        found: str | None = await whole(of, before=before, rows=rows)
        return found

    monkeypatch.setattr(receiver.app.state.store.windows, "bottom", one_at_a_time)
    async with a_visitor(receiver) as visitor:
        for path, rows in (
            ("/jobs?overdue=true", "jobs ORDER BY id"),
            ("/callbacks?verdict=conflict", "callbacks ORDER BY rowid"),
            ("/deliveries?status=dead&reference=nobody's", "deliveries ORDER BY id"),
        ):
            ((newest,),) = receiver.rows(f"SELECT id FROM {rows} DESC LIMIT 1")  # noqa: S608 - ours
            page = (await visitor.get(path)).text
            assert "there are older ones" in page, path
            (older,) = re.findall(r'<a href="([^"]+)" rel="next">', page)
            assert parse_qs(urlsplit(unescape(older)).query)["before"] == [newest], path
