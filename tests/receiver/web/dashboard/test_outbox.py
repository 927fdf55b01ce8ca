"""*Deliveries*: what was answered is text; one is put back, and many after it was seen which."""

from tests.receiver.support import AUTH, Host, Receiver, says, until
from tests.receiver.web.dashboard.visiting import a_visitor
from tests.receiver.web.test_deliveries import a_refused_job, deliveries

HOSTILE = b'<script>alert(1)</script>"><img src=x onerror=alert(2)>'


async def some_dead(receiver: Receiver, url: str, *, count: int = 3) -> list[str]:
    """Dead letters of so many jobs, whose endpoints are enabled again."""
    for _ in range(count):
        await a_refused_job(receiver, url)
    is_dead = "SELECT id FROM deliveries WHERE status = 'dead'"
    await until(lambda: len(receiver.rows(is_dead)) == count)
    for (endpoint,) in receiver.rows("SELECT id FROM endpoints WHERE disabled_ms IS NOT NULL"):
        enabled = await receiver.client.patch(f"/v1/endpoints/{endpoint}", json={"enabled": True}, headers=AUTH)
        assert enabled.status_code == 200
    return [each for (each,) in receiver.rows(is_dead)]


async def test_a_delivery_is_shown_with_its_tries_whose_answers_are_text(receiver: Receiver, host: Host) -> None:
    (dead,) = await some_dead(receiver, host.will("/gone", says(410, HOSTILE)), count=1)
    async with a_visitor(receiver) as visitor:
        listed, page = await visitor.get("/deliveries?status=dead"), await visitor.get(f"/deliveries/{dead}")
        assert dead in listed.text
        ((job, endpoint),) = receiver.rows("SELECT j.id, e.id FROM jobs j JOIN endpoints e ON e.job_id = j.id")
        for each in (listed, page):
            assert f'href="/jobs/{job}"' in each.text
            assert f'href="/endpoints/{endpoint}"' in each.text
        assert "410" in page.text
        assert "&lt;script&gt;alert(1)" in page.text
        assert not any(tag in page.text + listed.text for tag in ("<script>alert", "<img src=x"))

        host.will("/gone", says(204))
        answer = await visitor.post(f"/deliveries/{dead}/retry", {"csrf": await visitor.csrf()})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/deliveries/{dead}")
        await until(lambda: receiver.rows("SELECT 1 FROM deliveries WHERE status = 'delivered'"))
        after = await visitor.get(f"/deliveries/{dead}")
    assert "put back" in after.text
    noted = receiver.rows("SELECT action, thing, thing_id, outcome FROM audit WHERE thing <> 'endpoint'")
    assert noted == [("retry", "delivery", dead, "done")]


async def test_many_are_put_back_only_after_it_was_seen_how_many_and_which(receiver: Receiver, host: Host) -> None:
    dead = await some_dead(receiver, host.will("/gone", says(410)))
    host.will("/gone", says(204))
    async with a_visitor(receiver) as visitor:
        fields = {"csrf": await visitor.csrf(), "status": "dead", "error": "answered 410", "job": ""}
        before = await visitor.post("/deliveries/retry", fields)
        assert "3 deliveries would be tried again: nothing was done yet" in before.text
        assert all(each in before.text for each in dead)
        assert host.asked("/gone") == 3

        done = await visitor.post("/deliveries/retry", {**fields, "confirmed": "yes"})
        assert done.status_code == 303
        page = await visitor.get(done.headers["location"])
    assert "3 deliveries put back" in page.text
    await until(lambda: len(receiver.rows("SELECT 1 FROM deliveries WHERE status = 'delivered'")) == 3)
    noted = receiver.rows("SELECT action, thing, thing_id, detail FROM audit WHERE thing = 'deliveries'")
    assert noted == [("retry", "deliveries", "status dead, error answered 410", "3 deliveries put back")]


async def test_only_what_is_filtered_is_put_back_and_without_a_filter_the_dead_alone(
    receiver: Receiver, host: Host
) -> None:
    await some_dead(receiver, host.will("/gone", says(410)), count=2)
    (job, _) = [each["job_id"] for each in await deliveries(receiver, status="dead")]
    async with a_visitor(receiver) as visitor:
        csrf = await visitor.csrf()
        one = await visitor.post("/deliveries/retry", {"csrf": csrf, "job": job})
        every = await visitor.post("/deliveries/retry", {"csrf": csrf})
        none = await visitor.post("/deliveries/retry", {"csrf": csrf, "error": "never said"})
        wrong = await visitor.post("/deliveries/retry", {"csrf": csrf, "status": "<b>lost</b>"})
    assert "1 delivery would be tried again" in one.text
    assert "2 deliveries would be tried again" in every.text
    assert "There is nothing to put back" in none.text
    assert wrong.status_code == 422
    assert "one of pending, delivered, dead, superseded" in wrong.text
    assert "<b>lost" not in wrong.text


async def test_a_user_puts_back_what_is_the_users(receiver: Receiver, host: Host) -> None:
    dead = await some_dead(receiver, host.will("/gone", says(410)), count=1)
    ((job,),) = receiver.rows("SELECT id FROM jobs")
    key = (await receiver.key("operate", user="ann"))["authorization"].removeprefix("Bearer ")
    async with a_visitor(receiver, key=key) as ann:
        csrf = await ann.csrf()
        before = await ann.post("/deliveries/retry", {"csrf": csrf})
        single = await ann.post(f"/deliveries/{dead[0]}/retry", {"csrf": csrf})
        page = await ann.get(f"/deliveries/{dead[0]}")
        await ann.post("/deliveries/retry", {"csrf": csrf, "confirmed": "yes", "job": job})
    assert "There is nothing to put back" in before.text
    assert dead[0] not in before.text
    assert (single.status_code, page.status_code) == (404, 404)
    noted = receiver.rows("SELECT job_id, detail FROM audit WHERE thing = 'deliveries'")
    assert noted == [(None, "0 deliveries put back")], "of another's job"


async def test_deliveries_to_one_host_are_told_apart_and_a_removed_endpoint_has_no_page(
    receiver: Receiver, host: Host
) -> None:
    urls = [host.will(f"/geheim-{number}", says(204)) for number in range(3)]
    names = ["the shop", '"><img src=x onerror=alert(1)>', None]
    made = [
        await receiver.client.post("/v1/endpoints", json={"url": url, "name": name}, headers=AUTH)
        for url, name in zip(urls, names, strict=True)
    ]
    first, *others = [each.json()["id"] for each in made]
    job = await a_refused_job(receiver)
    await until(lambda: receiver.rows("SELECT count(*) FROM deliveries WHERE status = 'delivered'") == [(3,)])
    assert (await receiver.client.delete(f"/v1/endpoints/{first}", headers=AUTH)).status_code == 204
    async with a_visitor(receiver) as visitor:
        pages = [await visitor.get("/deliveries"), await visitor.get(f"/jobs/{job}")]
    for page in pages:
        assert first in page.text
        assert f"/endpoints/{first}" not in page.text
        assert all(f'href="/endpoints/{each}"' in page.text for each in others)
        assert "geheim" not in page.text
        assert "the shop <code>" in page.text
        assert "&gt;&lt;img src=x onerror=alert(1)&gt; <a" in page.text
    told = (await receiver.client.get("/v1/deliveries", headers=AUTH)).json()["data"]
    assert {each["endpoint"]["id"]: (each["endpoint"]["name"], each["endpoint"]["removed"]) for each in told} == {
        each: (name, each == first) for each, name in zip([first, *others], names, strict=True)
    }
