"""*Callbacks*: what was sent is text, a replay is seen before it is done, an orphan is given to its job."""

from pathlib import Path

from tests.receiver.support import AUTH, Host, Receiver, a_receiver, useapi_body
from tests.receiver.web.dashboard.visiting import a_visitor
from tests.receiver.web.test_account_callbacks import PIXVERSE, VIDEO_ID, pixverse_body, send

HOSTILE = '"><img src=x onerror=alert(1)></code></pre><script>alert(2)</script>\u202egnp.exe\x1b[2J'


async def a_callback(receiver: Receiver, **more: object) -> tuple[str, str]:
    """A job, and the callback that it was told by."""
    job, path = await receiver.register(reference=HOSTILE.removesuffix("\x1b[2J"))
    await receiver.submitted(job, "video-1")
    headers = {"x-hostile": "<b onclick=alert(3)>", "x-next": "'\"><svg/onload=alert(4)>"}
    told = useapi_body(job, video_id="video-1", **more)
    assert (await receiver.client.post(path, content=told, headers=headers)).status_code == 200
    return job, (await receiver.callbacks(job))[0]["id"]


async def test_what_a_provider_sent_is_text_on_every_page_of_it(receiver: Receiver) -> None:
    _, callback = await a_callback(receiver, word=HOSTILE, prompt=HOSTILE, **{HOSTILE: {"nested": HOSTILE}})
    async with a_visitor(receiver) as visitor:
        csrf = await visitor.csrf()
        pages = [
            await visitor.get("/callbacks"),
            await visitor.get(f"/callback/{callback}"),
            await visitor.get(f"/callback/{callback}?raw=true"),
            await visitor.post(f"/callback/{callback}/replay", {"csrf": csrf, "what": "parse"}),
        ]
    assert [page.status_code for page in pages] == [200] * 4
    for page in pages:
        assert not any(tag in page.text for tag in ("<img src=x", "<script>alert", "<b onclick", "<svg"))
        assert not any(unseen in page.text for unseen in "\u202e\x1b")
    assert "&lt;script&gt;alert(2)&lt;/script&gt;[U+202E]gnp.exe" in pages[1].text
    assert "&lt;b onclick=alert(3)&gt;" in pages[1].text


async def test_a_replay_shows_first_what_would_come_of_it_and_is_then_done_and_noted(receiver: Receiver) -> None:
    job, callback = await a_callback(receiver, progress=40)
    async with a_visitor(receiver) as visitor:
        fields = {"csrf": await visitor.csrf(), "what": "state"}
        before = await visitor.post(f"/callback/{callback}/replay", fields)
        assert "nothing was done yet" in before.text
        assert "duplicate" in before.text
        assert len(await receiver.callbacks(job)) == 1
        assert receiver.rows("SELECT * FROM audit") == []

        done = await visitor.post(f"/callback/{callback}/replay", {**fields, "confirmed": "yes"})
        assert (done.status_code, done.headers["location"]) == (303, f"/callback/{callback}")
        page = await visitor.get(f"/callback/{callback}")
    assert "taken once more: duplicate" in page.text
    assert len(await receiver.callbacks(job)) == 2
    noted = receiver.rows("SELECT action, thing, thing_id, job_id, outcome FROM audit")
    assert noted == [("replay", "callback", callback, job, "done")]


async def test_a_step_that_there_is_not_is_refused_in_words(receiver: Receiver) -> None:
    _, callback = await a_callback(receiver)
    async with a_visitor(receiver) as visitor:
        answer = await visitor.post(f"/callback/{callback}/replay", {"csrf": await visitor.csrf(), "what": "rm -rf"})
        none = await visitor.post(f"/callback/{callback}/replay", {"csrf": await visitor.csrf()})
    assert (answer.status_code, none.status_code) == (422, 422)
    assert "some of parse, state, download, notify" in answer.text


async def test_an_orphan_is_found_and_bound_and_what_cannot_be_is_told(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers={"pixverse": PIXVERSE}) as receiver, a_visitor(receiver) as visitor:
        assert (await send(receiver, pixverse_body(5))).status_code == 200
        (orphan,) = (await receiver.client.get("/v1/callbacks?orphans=true", headers=AUTH)).json()["data"]
        receiver.clock.move(minutes=7)
        listed = await visitor.get("/callbacks?orphans=true&provider=&verdict=")
        assert orphan["id"] in listed.text
        assert "7 min ago" in listed.text
        job, _ = await receiver.register("pixverse")

        fields = {"csrf": await visitor.csrf(), "job": "job_00000000000000000000000000"}
        await visitor.post(f"/callback/{orphan['id']}/bind", fields)
        assert "there is no job job_00000000000000000000000000" in (await visitor.get("/callbacks")).text
        await visitor.post(f"/callback/{orphan['id']}/bind", {**fields, "job": f" {job} "})
        page = await visitor.get(f"/callback/{orphan['id']}")
        assert f"it is of {job} now" in page.text
        assert "Bind it to this job" not in page.text
        assert (await receiver.job(job))["provider_job_id"] == VIDEO_ID
    assert set(receiver.rows("SELECT action, outcome FROM audit")) == {("bind", "refused"), ("bind", "done")}


async def test_a_users_key_is_not_offered_what_came_word_for_word(receiver: Receiver) -> None:
    job, path = await receiver.register(user="ann")
    await receiver.submitted(job, "user:1-x:jane.doe@example.com-video:1")
    told = useapi_body(job, video_id="user:1-x:jane.doe@example.com-video:1")
    assert (await receiver.client.post(path, content=told)).status_code == 200
    (callback,) = await receiver.callbacks(job)
    key = (await receiver.key("operate", user="ann"))["authorization"].removeprefix("Bearer ")
    async with a_visitor(receiver) as operator, a_visitor(receiver, key=key) as ann:
        mine = await operator.get(f"/callback/{callback['id']}?raw=true")
        hers = await ann.get(f"/callback/{callback['id']}?raw=true")
    assert "jane.doe@example.com" in mine.text
    assert hers.status_code == 200
    assert "jane.doe" not in hers.text
    assert "raw=true" not in hers.text
