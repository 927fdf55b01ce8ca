"""The outbox over HTTP: what was sent to whom, how that went, and putting it back."""

from typing import Any

import httpx
import pytest

from tests.receiver.support import AUTH, Host, Receiver, says, until


async def get(receiver: Receiver, path: str, **query: str) -> dict[str, Any]:
    response = await receiver.client.get(path, params=query, headers=AUTH)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


async def post(receiver: Receiver, path: str, content: Any = None) -> httpx.Response:
    return await receiver.client.post(path, json=content, headers=AUTH)


async def a_refused_job(receiver: Receiver, *urls: str) -> str:
    """A job whose submit was refused, so that it failed, and its places are told."""
    job, _ = await receiver.register(notify=[{"url": url} for url in urls])
    refused = await post(receiver, f"/v1/jobs/{job}/submission", {"outcome": "refused", "error": "no credits"})
    assert refused.status_code == 200
    return job


async def deliveries(receiver: Receiver, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await get(receiver, "/v1/deliveries", **query))["data"]
    return found


async def test_a_delivery_is_shown_with_its_tries_and_without_where_exactly_it_went(
    receiver: Receiver, host: Host
) -> None:
    url = host.will("/hooks/T0K3NT0K3NT0K3NT0K3N", says(503, b"busy"), says(204))
    job = await a_refused_job(receiver, f"{url}?key=geheim")
    await until(lambda: host.seen)
    await until(lambda: receiver.rows("SELECT 1 FROM attempts WHERE ended_ms IS NOT NULL"))
    (listed,) = await deliveries(receiver)
    shown = await get(receiver, f"/v1/deliveries/{listed['id']}")
    assert {name: value for name, value in shown.items() if name != "attempts"} == listed
    assert (shown["job_id"], shown["type"], shown["status"], shown["waits_for"]) == (
        job,
        "job.failed",
        "pending",
        "time",
    )
    assert shown["next_attempt_at"] > shown["created_at"]
    assert (shown["endpoint"]["channel"], shown["endpoint"]["host"]) == ("webhook", host.url.removeprefix("http://"))
    (attempt,) = shown["attempts"]
    assert (attempt["number"], attempt["status"], attempt["answer"]) == (1, 503, "busy")
    assert attempt["problem"] == shown["problem"] == "the endpoint answered 503"
    assert not any(word in str(shown) for word in ("geheim", "T0K3N", "/hooks"))

    put_back = await post(receiver, f"/v1/deliveries/{listed['id']}/retry")
    assert put_back.status_code == 202
    await until(lambda: len(host.seen) == 2)
    await until(lambda: receiver.rows("SELECT 1 FROM deliveries WHERE status = 'delivered'"))
    assert host.seen[0][2]["webhook-id"] == host.seen[1][2]["webhook-id"] == listed["notification_id"]
    delivered = await get(receiver, f"/v1/deliveries/{listed['id']}")
    assert (delivered["status"], delivered["last_status"], delivered["tries"]) == ("delivered", 204, 2)
    assert delivered["counted"] == 1, "the other one was before it was put back"
    story = (await get(receiver, f"/v1/jobs/{delivered['job_id']}/timeline"))["data"]
    (entry,) = (entry for entry in story if entry["kind"] == "delivery")
    assert (entry["attempts"], entry["counted"]) == (2, 1)
    assert delivered["delivered_at"]


async def test_deliveries_are_listed_newest_first_page_by_page_and_as_they_are_wanted(
    receiver: Receiver, host: Host
) -> None:
    gone, good = host.will("/gone", says(410, b"go away")), host.will("/good", says(200))
    jobs = [await a_refused_job(receiver, gone, good) for _ in range(3)]
    await until(lambda: len(receiver.rows("SELECT 1 FROM deliveries WHERE status <> 'pending'")) == 6)
    ids = [each["id"] for each in await deliveries(receiver)]
    assert ids == sorted(ids, reverse=True)
    first = await get(receiver, "/v1/deliveries", limit="4")
    rest = await get(receiver, "/v1/deliveries", before=first["data"][-1]["id"])
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [each["id"] for each in first["data"] + rest["data"]] == ids
    dead = await deliveries(receiver, status="dead")
    assert {each["job_id"] for each in dead} == set(jobs)
    assert await deliveries(receiver, error="ANSWERED 410") == dead
    assert len(await deliveries(receiver, job=jobs[0])) == 2
    endpoint = dead[0]["endpoint"]["id"]
    assert await deliveries(receiver, endpoint=endpoint) == dead[:1]
    assert await deliveries(receiver, type="video.stored") == []
    assert len(await deliveries(receiver, since="2026-11-21T12:00:00Z")) == 6
    assert await deliveries(receiver, until="2026-11-21T12:00:00Z") == []


async def test_a_bulk_retry_says_first_how_many_and_puts_back_only_what_matches(receiver: Receiver, host: Host) -> None:
    busy = host.will("/busy", says(500))
    for _ in range(3):
        await a_refused_job(receiver, busy)
    await until(lambda: len(receiver.rows("SELECT 1 FROM attempts WHERE ended_ms IS NOT NULL")) == 3)
    host.will("/busy", says(204))
    asked = {"status": "pending", "error": "500"}
    dry = await post(receiver, "/v1/deliveries/retry", {**asked, "dry_run": True})
    assert (dry.status_code, dry.json()) == (200, {"matching": 3, "retried": 0, "skipped": 0, "dry_run": True})
    assert host.asked("/busy") == 3
    none = await post(receiver, "/v1/deliveries/retry", {"error": "500"})
    assert none.json()["matching"] == 0, "without a status only the dead ones"
    done = await post(receiver, "/v1/deliveries/retry", asked)
    assert (done.status_code, done.json()) == (202, {"matching": 3, "retried": 3, "skipped": 0, "dry_run": False})
    await until(lambda: len(receiver.rows("SELECT 1 FROM deliveries WHERE status = 'delivered'")) == 3)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "filter"),
        ({"dry_run": True}, "filter"),
        ({"status": "lost"}, "status"),
        ({"status": "superseded"}, "status"),
        ({"type": "job.exploded"}, "type"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-11-21T12:00:00"}, "until"),
        ({"error": ""}, "error"),
        ({"job": "j" * 300}, "job"),
        ({"job": "order-44"}, "job"),
        ({"state": "dead"}, "body"),
        ([], "body"),
    ],
    ids=str,
)
async def test_what_cannot_be_put_back_is_a_422_that_names_the_field(
    receiver: Receiver, content: Any, field: str
) -> None:
    response = await post(receiver, "/v1/deliveries/retry", content)
    assert (response.status_code, response.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "before=job_1", "status=lost", "colour=red", "since=now", "error=", "job=order-44"]
)
async def test_a_list_that_cannot_be_had_is_a_422_that_names_the_filter(receiver: Receiver, query: str) -> None:
    response = await receiver.client.get(f"/v1/deliveries?{query}", headers=AUTH)
    assert (response.status_code, response.json()["field"]) == (422, query.partition("=")[0])


async def test_nobodys_delivery_is_a_404(receiver: Receiver) -> None:
    for method, path in (("GET", "/v1/deliveries/dlv_1"), ("POST", "/v1/deliveries/dlv_1/retry")):
        response = await receiver.client.request(method, path, headers=AUTH)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_what_leads_nowhere_is_not_put_back(receiver: Receiver, host: Host) -> None:
    bad, gone = host.will("/bad", says(404)), host.will("/gone", says(410))
    endpoint = (await post(receiver, "/v1/endpoints", {"url": bad})).json()["id"]
    await a_refused_job(receiver, gone)
    await until(lambda: receiver.rows("SELECT 1 FROM endpoints WHERE disabled_ms IS NOT NULL"))
    await until(lambda: receiver.rows("SELECT 1 FROM attempts WHERE status = 404"))
    removed = await receiver.client.delete(f"/v1/endpoints/{endpoint}", headers=AUTH)
    assert removed.status_code == 204
    found = await deliveries(receiver, status="dead")
    assert len(found) == 2
    for each in found:
        refused = await post(receiver, f"/v1/deliveries/{each['id']}/retry")
        assert refused.status_code == 409
        assert "cannot be put back" in refused.json()["detail"]
    done = await post(receiver, "/v1/deliveries/retry", {"status": "dead"})
    assert done.json() == {"matching": 0, "retried": 0, "skipped": 2, "dry_run": False}
    (its,) = [each for each in found if each["endpoint"]["id"] != endpoint]
    enabled = await receiver.client.patch(
        f"/v1/endpoints/{its['endpoint']['id']}", json={"enabled": True}, headers=AUTH
    )
    assert enabled.status_code == 200
    assert (await post(receiver, f"/v1/deliveries/{its['id']}/retry")).status_code == 202
