"""Lists: their filters, their pages, and that what is rarely true is looked for a part at a time."""

import asyncio
import re
import threading
from datetime import timedelta

import httpx
import pytest

from replyhook_receiver.stores import windows
from replyhook_receiver.stores.sql import job_lists
from replyhook_receiver.stores.windows import Listed
from tests.receiver.support import AUTH, NOW, Host, Receiver, says, until, useapi_body


async def ids(receiver: Receiver, path: str, **query: object) -> list[str]:
    answer = await receiver.client.get(path, params={name: str(value) for name, value in query.items()}, headers=AUTH)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def failed(receiver: Receiver, words: str) -> str:
    job, path = await receiver.register("useapi")
    told = useapi_body(job, "FAILED", video_id=f"v-{job}", error=words)
    assert (await receiver.client.post(path, content=told)).status_code == 200
    return job


async def test_jobs_are_found_by_a_part_of_their_last_error_in_any_case(receiver: Receiver) -> None:
    job, _ = await receiver.register("fal")
    report = {"outcome": "refused", "error": "InsufficientCredits: 100% of them_are gone!"}
    assert (await receiver.client.post(f"/v1/jobs/{job}/submission", json=report, headers=AUTH)).status_code == 200
    other, _ = await receiver.register("fal")
    for words in ("insufficientcredits", "100% OF", "them_are", "gone!", "submission_refused"):
        assert await ids(receiver, "/v1/jobs", error=words) == [job]
    for words in ("100_", "%", "them.are", "nothing so"):
        assert await ids(receiver, "/v1/jobs", error=words) == ([job] if words == "%" else [])
    assert await ids(receiver, "/v1/jobs", error="gone", provider="useapi") == []
    assert await ids(receiver, "/v1/jobs", error="gone", status="failed") == [job]
    assert other in await ids(receiver, "/v1/jobs")


async def test_jobs_and_events_are_found_by_time(receiver: Receiver) -> None:
    made, told = [], []
    for _ in range(3):
        job, path = await receiver.register("useapi")
        await receiver.client.post(path, content=useapi_body(job, video_id=job))
        made.append(job)
        told.append((await ids(receiver, "/v1/events", job=job))[0])
        receiver.clock.move(minutes=1)
    then = (NOW + timedelta(minutes=1)).isoformat()
    assert await ids(receiver, "/v1/jobs", created_after=then, created_before=then) == []
    for after, before in (("created_after", "created_before"), ("since", "until")):
        assert await ids(receiver, "/v1/jobs", **{after: then}) == sorted(made[1:], reverse=True)
        assert await ids(receiver, "/v1/jobs", **{before: then}) == made[:1]
    for both in ({"since": then, "created_after": then}, {"until": then, "created_before": then}):
        answer = await receiver.client.get("/v1/jobs", params=both, headers=AUTH)
        assert (answer.status_code, answer.json()["field"]) == (422, next(iter(both)))
    assert await ids(receiver, "/v1/events", since=then) == told[:0:-1]
    assert await ids(receiver, "/v1/events", until=then) == told[:1]
    answer = await receiver.client.get("/v1/jobs?created_after=2026-11-21T12:01:00+00:00", headers=AUTH)
    assert len(answer.json()["data"]) == 2  # a plus that was not escaped is a space


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/callbacks", "/v1/events", "/v1/deliveries", "/v1/endpoints", "/v1/keys"]
)
@pytest.mark.parametrize(
    "query", ["page=2", "limit=0", "limit=101", "limit=1&limit=2", "limit=1e1", "before=job", "before=", "after=x"]
)
async def test_a_list_that_cannot_be_had_names_what_can_be_asked(receiver: Receiver, path: str, query: str) -> None:
    answer = await receiver.client.get(f"{path}?{query}", headers=AUTH)
    name = query.partition("=")[0]
    assert (answer.status_code, answer.json()["field"]) == (422, name)
    if name in ("page", "after"):
        assert "before, limit" in answer.json()["allowed"]


@pytest.mark.parametrize(
    "query", ["created_after=2026-11-21", "created_before=2026-11-21T12:00:00", "created_after=yesterday", "error="]
)
async def test_a_time_without_a_zone_is_refused(receiver: Receiver, query: str) -> None:
    answer = await receiver.client.get(f"/v1/jobs?{query}", headers=AUTH)
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])


async def test_a_page_looks_in_so_many_rows_and_says_where_the_next_begins(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = await failed(receiver, "the first")
    for _ in range(8):
        job, path = await receiver.register("useapi")
        await receiver.client.post(path, content=useapi_body(job, video_id=job))
    store = receiver.app.state.store
    whole = store.windows.bottom

    async def three_at_a_time(of: Listed, *, before: str | None = None, rows: int = 3) -> str | None:
        found: str | None = await whole(of, before=before, rows=rows)
        return found

    monkeypatch.setattr(store.windows, "bottom", three_at_a_time)
    for path, status in (("/v1/jobs", "failed"), ("/v1/events", "failed")):
        found, pages, before = [], 0, None
        while True:
            query = {"status": status, "limit": "1", **({"before": before} if before else {})}
            page = (await receiver.client.get(path, params=query, headers=AUTH)).json()
            found += page["data"]
            pages, before = pages + 1, page["next"]
            assert page["has_more"] is (before is not None)
            if before is None:
                break
        assert [each.get("job_id", each["id"]) for each in found] == [lost]
        assert pages == 3 + (1 if found and pages > 3 else 0)
    by_user = (await receiver.client.get("/v1/jobs?reference=none", headers=AUTH)).json()
    assert (by_user["data"], by_user["has_more"]) == ([], False)  # an index has it


async def test_jobs_that_are_late_or_lost_are_asked_for_by_words_that_are_checked(receiver: Receiver) -> None:
    job = await failed(receiver, "gone")
    assert await ids(receiver, "/v1/jobs", overdue="false", video="none", expiring="false") == [job]
    for query in ({"overdue": "true"}, {"video": "lost"}, {"video": "stored"}, {"expiring": "true"}):
        assert await ids(receiver, "/v1/jobs", **query) == []
    for name, value in (("overdue", "yes"), ("video", "gone"), ("video", ""), ("expiring", "1")):
        answer = await receiver.client.get("/v1/jobs", params={name: value}, headers=AUTH)
        assert (answer.status_code, answer.json()["field"]) == (422, name)
    assert "lost" in (await receiver.client.get("/v1/jobs?video=x", headers=AUTH)).json()["allowed"]


@pytest.mark.parametrize("path", ["/v1/callbacks", "/v1/events", "/v1/deliveries"])
async def test_what_was_told_is_asked_for_by_reference_and_user_and_a_users_key_names_nobody_else(
    receiver: Receiver, path: str
) -> None:
    jobs = {}
    for user in ("ann", "bob"):
        target = [{"url": "http://127.0.0.1:9/hook"}]
        jobs[user], called = await receiver.register(user=user, reference=f"of {user}", notify=target)
        told = useapi_body(jobs[user], "FAILED", video_id=f"v-{user}", error="no")
        assert (await receiver.client.post(called, content=told)).status_code == 200

    async def asked(auth: dict[str, str] = AUTH, **query: str) -> list[str]:
        answer = await receiver.client.get(path, params=query, headers=auth)
        return [each["job_id"] for each in answer.json()["data"]] if answer.status_code == 200 else [answer.text]

    assert await asked(reference="of ann") == await asked(user="ann") == [jobs["ann"]]
    assert await asked(user="ann", reference="of bob") == await asked(reference="of") == []
    anns = await receiver.key("read", user="ann")
    assert await asked(anns) == await asked(anns, user="ann") == [jobs["ann"]]
    assert await asked(anns, reference="of bob") == []
    assert "this key is of one user's things" in (await asked(anns, user="bob"))[0]


async def test_only_the_dead_letters_of_a_reference_or_a_user_are_put_back(receiver: Receiver, host: Host) -> None:
    for user in ("ann", "bob"):
        target = [{"url": host.will(f"/{user}", says(410))}]
        _, called = await receiver.register(user=user, reference=f"of {user}", notify=target)
        told = useapi_body(None, "FAILED", video_id=f"v-{user}", error="no")
        assert (await receiver.client.post(called, content=told)).status_code == 200
    await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status = 'dead'") == [(2,)])
    for asked, matching in (
        ({"reference": "of ann"}, 1),
        ({"user": "bob"}, 1),
        ({"user": "bob", "reference": "of ann"}, 0),
        ({"status": "dead"}, 2),
    ):
        content = {**asked, "dry_run": True}
        answer = await receiver.client.post("/v1/deliveries/retry", json=content, headers=AUTH)
        assert answer.json()["matching"] + answer.json()["skipped"] == matching, asked


async def test_the_list_of_expiring_videos_begins_with_those_that_wait_however_many_jobs_there_are(
    receiver: Receiver,
) -> None:
    statement = f"SELECT j.id FROM jobs j LEFT JOIN assets a ON a.job_id = j.id WHERE {job_lists._EXPIRING}"  # noqa: S608 - ours
    plan = " / ".join(str(row[3]) for row in receiver.rows(f"EXPLAIN QUERY PLAN {statement} ORDER BY j.id DESC"))
    assert "SCAN j" not in plan, plan
    assert re.findall(r"(?:SCAN|SEARCH) assets USING (?:COVERING )?INDEX (\w+)", plan) == [
        "assets_by_expiry",
        "assets_undated",
    ], plan

    async def is_not_asked(*_: object, **__: object) -> str | None:
        raise AssertionError("it has an index, and needs no window")

    receiver.app.state.store.windows.bottom = is_not_asked
    assert await ids(receiver, "/v1/jobs", expiring="true") == []


async def test_the_bottom_of_a_window_is_so_many_rows_down(receiver: Receiver) -> None:
    made = sorted([(await receiver.register())[0] for _ in range(5)], reverse=True)
    look = receiver.app.state.store.windows.bottom
    assert await look(Listed.JOBS, rows=3) == made[2]
    assert await look(Listed.JOBS, before=made[0], rows=3) == made[3]
    assert await look(Listed.JOBS, rows=6) is None
    assert await look(Listed.CALLBACKS, rows=1) is None
    assert windows.LOOKED_AT >= 1_000


async def test_reads_that_take_long_hold_up_nobody_while_one_reader_is_free(receiver: Receiver) -> None:
    database = receiver.app.state.store.database
    enough = threading.Event()
    slow = [asyncio.create_task(database.read(lambda _: enough.wait(60))) for _ in range(3)]
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(receiver.client.get("/v1/jobs", headers=AUTH) for _ in range(6)))
    assert not any(read.done() for read in slow)
    enough.set()
    assert all(isinstance(answer, httpx.Response) and answer.status_code == 200 for answer in answers)
    await asyncio.gather(*slow)
