"""A job's page: strangers' text is text, buttons do what the API does, and what they did is noted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.receiver.object_store import BUCKET, ObjectServer
from tests.receiver.support import AUTH, Host, Receiver, a_host, a_receiver, says, until, useapi_body
from tests.receiver.web.dashboard.visiting import Visitor, a_visitor

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% raw %}",
    "'><svg/onload=alert(1)>",
    "\u202egnp.exe\u202c",
    "x" * 1000,
)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with a_host() as host:
        yield host


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    providers = {"useapi": {"api_key": "key"}}
    async with a_receiver(tmp_path, host, providers=providers) as receiver:
        yield receiver


@pytest.fixture
async def visitor(receiver: Receiver) -> AsyncIterator[Visitor]:
    async with a_visitor(receiver) as visitor:
        yield visitor


async def a_job(receiver: Receiver, *, reference: str | None = None, **told: object) -> str:
    """A job that was submitted, and called back about where anything is ``told``."""
    job, path = await receiver.register(reference=reference, user="u")
    await receiver.submitted(job, "video-1")
    if told:
        word = str(told.pop("word", "FAILED"))
        body = useapi_body(job, word, video_id="video-1", **told)
        assert (await receiver.client.post(path, content=body)).status_code == 200
    return job


async def press(visitor: Visitor, job: str, word: str, **fields: str) -> str:
    """Press a button; the page after it."""
    answer = await visitor.post(f"/jobs/{job}/{word}", {"csrf": await visitor.csrf(), **fields})
    assert answer.status_code == 303, answer.text
    return (await visitor.get(answer.headers["location"])).text


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_strangers_text_is_shown_as_text(receiver: Receiver, visitor: Visitor, text: str) -> None:
    job = await a_job(receiver, reference=text, error_message=text, error=text)
    for path in ("/", "/jobs", f"/jobs/{job}", f"/jobs?reference={'a' * 900}"):
        page = (await visitor.get(path)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<svg/onload" not in page
        assert "49{%" not in page
        assert "\u202e" not in page
    listed = (await visitor.get("/jobs")).text
    if text.startswith("\u202e"):
        assert "[U+202E]gnp.exe" in listed
    if text.startswith("<"):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in listed


async def test_the_page_tells_the_whole_story_with_headers_and_body(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, note="<b>bold</b>")
    page = (await visitor.get(f"/jobs/{job}")).text
    for words in (
        "Registered",
        "Submit",
        "Callback",
        "applied",
        "content-length",
        "&lt;b&gt;bold&lt;/b&gt;",
        "Announced",
    ):
        assert words in page
    assert "  &#34;video_status_name&#34;: &#34;FAILED&#34;" in page  # JSON with its lines apart


async def test_a_replay_is_done_told_and_noted_with_who_did_it(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, word="FAILED")
    callback = (await receiver.callbacks(job))[0]["id"]
    page = await press(visitor, job, "replay", callback=callback)
    assert "replayed: the job is failed" in page
    assert len(await receiver.callbacks(job)) == 2
    ((who, what, thing, of_job, outcome),) = receiver.rows(
        "SELECT key_name, action, thing_id, job_id, outcome FROM audit"
    )
    assert (who, what, thing, of_job, outcome) == ("a key of the settings", "replay", callback, job, "done")
    assert "Done by hand" in page
    assert "replayed: the job is failed" not in (await visitor.get("/jobs")).text  # said once


async def test_what_is_refused_is_told_and_noted_as_refused(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, word="FAILED")
    assert "has ended: it is failed" in await press(visitor, job, "reconcile")
    assert "nothing of job" in await press(visitor, job, "retry")
    assert receiver.rows("SELECT action, outcome FROM audit ORDER BY action") == [
        ("reconcile", "refused"),
        ("retry", "refused"),
    ]


async def test_the_provider_is_asked_now_and_what_it_says_is_believed(
    host: Host, receiver: Receiver, visitor: Visitor
) -> None:
    answer = json.dumps({"video_id": "video-1", "video_status_name": "FAILED"}).encode()
    host.will("/useapi/videos/video-1", says(200, answer, content_type="application/json"))
    job = await a_job(receiver)
    assert "the provider is asked now" in await press(visitor, job, "reconcile")

    async def is_told() -> bool:
        return bool([path for _, path, _, _ in host.seen if path.startswith("/useapi")])

    await until(is_told)


async def test_a_video_that_was_lost_is_fetched_again(host: Host, receiver: Receiver, visitor: Visitor) -> None:
    link = host.will("/video.mp4", says(404))
    answer = json.dumps({"video_id": "video-1", "video_status_name": "COMPLETED", "url": link}).encode()
    host.will("/useapi/videos/video-1", says(200, answer, content_type="application/json"))
    job = await a_job(receiver, word="COMPLETED", url=link)

    async def is_lost() -> bool:
        receiver.clock.move(minutes=2)
        receiver.app.state.store._on_tasks()
        return (await receiver.job(job))["video"]["status"] in ("failed", "expired")

    await until(is_lost, seconds=60)
    asked = host.asked("/video.mp4")
    assert "put back: download" in await press(visitor, job, "retry")
    await until(lambda: host.asked("/video.mp4") > asked)


async def test_a_user_is_not_told_who_runs_the_receiver(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, word="FAILED")
    await press(visitor, job, "reconcile")
    made = await receiver.client.post("/v1/keys", json={"scopes": ["operate"], "user": "u"}, headers=AUTH)
    async with a_visitor(receiver, key=made.json()["key"]) as user:
        assert "Done by hand" not in (await user.get(f"/jobs/{job}")).text
        assert "Done by hand" in await press(user, job, "reconcile")


async def test_what_was_done_leaves_with_the_job(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, word="FAILED")
    await press(visitor, job, "reconcile")
    store = receiver.app.state.store
    assert [each async for each in store.erasing.erase("u", now=receiver.clock())] == [job]
    assert receiver.rows("SELECT * FROM audit") == []


async def test_a_page_may_load_videos_from_the_object_store_that_they_are_in(
    tmp_path: Path, host: Host, object_server: ObjectServer
) -> None:
    storage = {"storage_url": f"s3://{BUCKET}/here", "storage_endpoint": object_server.endpoint}
    async with a_receiver(tmp_path, host, **storage) as receiver, a_visitor(receiver) as visitor:
        policy = (await visitor.get("/jobs")).headers["content-security-policy"]
    assert f"media-src 'self' {object_server.endpoint};" in policy
    assert "Signature" not in policy


async def test_a_replay_says_what_it_repeats_and_not_that_nothing_came(receiver: Receiver, visitor: Visitor) -> None:
    job = await a_job(receiver, error="gone wrong")
    callback = receiver.rows("SELECT id FROM callbacks")[0][0]
    page = await press(visitor, job, "replay", callback=callback)
    repeat = receiver.rows("SELECT id FROM callbacks WHERE source = 'replay'")[0][0]
    for text in (page, (await visitor.get(f"/callback/{repeat}")).text):
        assert "this was a replay of" in text
        assert f'/callback/{callback}"><code>{callback}' in text
    assert "0 B" not in page


async def test_lists_say_why_and_which_zone_their_moments_are_of(receiver: Receiver, visitor: Visitor) -> None:
    await a_job(receiver, error="gone wrong")
    page = (await visitor.get("/jobs?created_after=2026-11-21T10:00:00%2B02:00")).text
    assert 'name="created_after" value="2026-11-21T08:00"' in page
    assert "Times are in <span data-zone>UTC</span>" in page
    assert 'data-label="Why">gone wrong' in page
    assert 'href="/docs"' in page


async def test_a_download_that_waits_for_its_next_try_says_until_when(
    receiver: Receiver, visitor: Visitor, host: Host
) -> None:
    job = await a_job(receiver, word="COMPLETED", url=host.will("/busy.mp4", says(503)))
    await until(
        lambda: receiver.rows("SELECT 1 FROM tasks WHERE kind = 'download' AND attempts > 0 AND state = 'ready'")
    )
    page = (await visitor.get(f"/jobs/{job}")).text
    assert "for its next try" in page
    assert "<progress aria-label" not in page
