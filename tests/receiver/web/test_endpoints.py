"""`/v1/endpoints`: places that stand, whose secrets are shown once, that pause and go on, and that lead nowhere bad."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from tests.receiver.support import AUTH, WHSEC, Host, Receiver, a_receiver, callback_path, says, until, useapi_body
from tests.receiver.web.test_api import is_problem

OWN = "whsec_" + "T1dO" * 10
MISSING = "ep_06gzv450ms5sr0bq1v26sekk1e"


async def post(receiver: Receiver, content: Any, path: str = "/v1/endpoints") -> httpx.Response:
    return await receiver.client.post(path, json=content, headers=AUTH)


async def add(receiver: Receiver, url: str, **more: Any) -> dict[str, Any]:
    response = await post(receiver, {"url": url, **more})
    assert response.status_code == 201, response.text
    content: dict[str, Any] = response.json()
    return content


async def change(receiver: Receiver, endpoint: str, **changes: Any) -> httpx.Response:
    return await receiver.client.patch(f"/v1/endpoints/{endpoint}", json=changes, headers=AUTH)


async def get(receiver: Receiver, path: str) -> Any:
    response = await receiver.client.get(path, headers=AUTH)
    assert response.status_code == 200, response.text
    return response.json()


async def fails(receiver: Receiver, user: str | None = None, **contents: Any) -> str:
    """A job that failed."""
    job, path = await receiver.register("useapi", **({"user": user} if user else {}), **contents)
    await receiver.client.post(path, content=useapi_body(job, "FAILED"))
    return job


def told(host: Host, path: str) -> list[tuple[str, str]]:
    """What was told there: type and job."""
    said = [json.loads(body) for _, seen, _, body in host.seen if seen == path]
    return [(each["type"], each["data"]["id"]) for each in said]


def deliveries(receiver: Receiver) -> list[str]:
    return [status for (status,) in receiver.rows("SELECT status FROM deliveries ORDER BY notification")]


def is_signed_by(secret: str, seen: tuple[str, str, dict[str, str], bytes]) -> bool:
    """By the standard's own package, at the time in the message: the receiver's clock stands still."""
    headers, body = seen[2], seen[3]
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
    return Webhook(secret).sign(headers["webhook-id"], sent_at, body.decode()) in headers["webhook-signature"].split()


# Who hears what


async def test_standing_endpoints_hear_of_everybodys_jobs_or_of_one_users_and_of_what_they_asked_for(
    receiver: Receiver, host: Host
) -> None:
    for path in ("/all", "/seven", "/eight", "/progress", "/videos"):
        host.will(path, says(200))
    await add(receiver, f"{host.url}/all")
    await add(receiver, f"{host.url}/seven", user="u_7")
    await add(receiver, f"{host.url}/eight", user="u_8")
    await add(receiver, f"{host.url}/progress", types=["job.running"])
    await add(receiver, f"{host.url}/videos", types=["video.stored"])
    job, path = await receiver.register("useapi", user="u_7")
    await receiver.client.post(path, content=useapi_body(job, "GENERATING"))
    await receiver.client.post(path, content=useapi_body(job, "FAILED"))
    nobodys = await fails(receiver)
    await until(lambda: len(host.seen) >= 4)
    await until(lambda: set(deliveries(receiver)) == {"delivered"})
    assert sorted(told(host, "/all")) == sorted([("job.failed", job), ("job.failed", nobodys)])
    assert told(host, "/seven") == [("job.failed", job)]
    assert told(host, "/progress") == [("job.running", job)]
    assert told(host, "/eight") == told(host, "/videos") == []


async def test_a_users_endpoint_hears_of_a_job_whose_callback_came_before_it_was_known_whose_it_is(
    receiver: Receiver, host: Host
) -> None:
    host.will("/all", says(200))
    host.will("/seven", says(200))
    await add(receiver, f"{host.url}/seven", user="u_7")
    await add(receiver, f"{host.url}/all")
    job = new_id("job")
    await receiver.client.post(callback_path("useapi", job), content=useapi_body(job, "FAILED"))
    await until(lambda: told(host, "/all"))
    assert told(host, "/seven") == []
    for _ in range(2):
        await receiver.register("useapi", job, user="u_7")
    await until(lambda: told(host, "/seven"))
    await until(lambda: set(deliveries(receiver)) == {"delivered"})
    assert told(host, "/seven") == told(host, "/all") == [("job.failed", job)]


async def test_an_endpoints_headers_and_secret_go_with_what_it_is_told(receiver: Receiver, host: Host) -> None:
    host.will("/hook", says(200))
    made = await add(receiver, f"{host.url}/hook", headers={"Authorization": "Bearer geheim-1"})
    await fails(receiver)
    await until(lambda: told(host, "/hook"))
    assert host.seen[0][2]["authorization"] == "Bearer geheim-1"
    assert is_signed_by(made["secret"], host.seen[0])
    assert not is_signed_by(WHSEC, host.seen[0])


async def test_a_jobs_own_place_may_have_headers_too_and_the_same_registration_is_still_the_same(
    receiver: Receiver, host: Host
) -> None:
    url = host.will("/hook", says(200))
    notify = [{"url": url, "headers": {"X-Team": "video"}}]
    job = await fails(receiver, notify=notify)
    await receiver.register("useapi", job, notify=notify)
    await until(lambda: told(host, "/hook"))
    assert host.seen[0][2]["x-team"] == "video"
    other = {"provider": "useapi", "notify": [{"url": url}]}
    assert (await receiver.client.put(f"/v1/jobs/{job}", json=other, headers=AUTH)).status_code == 409
    listed = await get(receiver, f"/v1/endpoints?job={job}")
    assert [(each["origin"], each["job"], each["headers"]) for each in listed["data"]] == [
        ("job", job, {"X-Team": "…"})
    ]
    assert (await get(receiver, "/v1/endpoints"))["data"] == []
    rotating = f"/v1/endpoints/{listed['data'][0]['id']}/rotate-secret"
    assert is_problem(await post(receiver, {}, rotating), 409), "the receiver's own secrets sign for it"


# Secrets


async def test_a_secret_is_shown_where_it_is_made_and_never_again(receiver: Receiver) -> None:
    made = await add(
        receiver,
        "https://app.example.com/hooks/geheim-0123456789?key=geheim-0",
        headers={"X-Key": "geheim-1"},
        name="ours",
    )
    given = await add(receiver, "https://app.example.com/hooks", secret=OWN)
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) > 40
    assert given["secret"] == OWN
    shown = json.dumps([await get(receiver, f"/v1/endpoints/{made['id']}"), await get(receiver, "/v1/endpoints")])
    shown += (await change(receiver, made["id"], name="theirs")).text
    for secret in (made["secret"], OWN, "geheim"):
        assert secret not in shown
    assert '"url": "https://app.example.com/hooks/\\u2026"' in shown


async def test_a_rotated_secret_signs_beside_the_one_before_until_that_expires(receiver: Receiver, host: Host) -> None:
    made = await add(receiver, host.will("/hook", says(200)))
    path = f"/v1/endpoints/{made['id']}/rotate-secret"
    rotated = (await post(receiver, {"overlap_hours": 2}, path)).json()
    assert rotated["secret"] not in (made["secret"], "whsec_…")
    assert rotated["older_secrets_until"] == [
        (receiver.clock() + timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    ]
    await fails(receiver)
    await until(lambda: host.asked("/hook") == 1)
    assert [is_signed_by(each["secret"], host.seen[-1]) for each in (made, rotated)] == [True, True]
    receiver.clock.move(hours=2, seconds=1)
    await fails(receiver)
    await until(lambda: host.asked("/hook") == 2)
    assert [is_signed_by(each["secret"], host.seen[-1]) for each in (made, rotated)] == [False, True]
    again = await receiver.client.post(path, headers=AUTH)
    assert (again.status_code, len(again.json()["older_secrets_until"])) == (200, 1)
    assert is_problem(await post(receiver, {"overlap_hours": 169}, path), 422, field="overlap_hours")
    assert is_problem(await post(receiver, {"secret": "geheim"}, path), 422, field="secret")


# Pausing


async def test_a_disabled_endpoint_is_told_nothing_and_all_of_it_when_it_is_enabled(
    receiver: Receiver, host: Host
) -> None:
    made = await add(receiver, host.will("/hook", says(200)))
    disabled = (await change(receiver, made["id"], enabled=False)).json()
    assert (disabled["enabled"], disabled["disabled_why"]) == (False, "by hand")
    jobs = [await fails(receiver) for _ in range(3)]
    assert deliveries(receiver) == ["pending"] * 3
    assert receiver.rows("SELECT count(*) FROM tasks WHERE kind = 'notify'") == [(0,)]
    receiver.clock.move(days=6)
    enabled = (await change(receiver, made["id"], enabled=True)).json()
    assert (enabled["enabled"], enabled["disabled_why"], enabled["disabled_at"]) == (True, None, None)
    await until(lambda: deliveries(receiver) == ["delivered"] * 3)
    assert sorted(told(host, "/hook")) == sorted(("job.failed", job) for job in jobs)


async def test_what_an_endpoint_missed_more_than_7_days_ago_is_given_up_and_said_so(
    receiver: Receiver, host: Host
) -> None:
    made = await add(receiver, host.will("/hook", says(200)))
    await change(receiver, made["id"], enabled=False)
    await fails(receiver)
    receiver.clock.move(days=6)
    kept = await fails(receiver)
    receiver.clock.move(days=2)
    await fails(receiver)
    assert len(deliveries(receiver)) == 2, "after 7 days nothing more is kept"
    await change(receiver, made["id"], enabled=True)
    await until(lambda: deliveries(receiver) == ["dead", "delivered"])
    assert told(host, "/hook") == [("job.failed", kept)]
    assert "7 days" in receiver.rows("SELECT problem FROM deliveries WHERE status = 'dead'")[0][0]


async def test_a_removed_endpoint_is_gone_with_what_it_was_to_be_told(receiver: Receiver, host: Host) -> None:
    made = await add(receiver, host.will("/hook", says(200)))
    await change(receiver, made["id"], enabled=False)
    await fails(receiver)
    path = f"/v1/endpoints/{made['id']}"
    assert (await receiver.client.delete(path, headers=AUTH)).status_code == 204
    assert is_problem(await receiver.client.delete(path, headers=AUTH), 404)
    assert is_problem(await receiver.client.get(path, headers=AUTH), 404)
    assert is_problem(await change(receiver, made["id"], enabled=True), 404)
    await fails(receiver)
    assert deliveries(receiver) == ["dead"]
    assert receiver.rows("SELECT secret, secrets, headers FROM endpoints") == [(None, None, None)]
    assert host.seen == []


# Trying


async def test_a_test_is_sent_at_once_and_what_came_back_is_told(receiver: Receiver, host: Host) -> None:
    made = await add(receiver, host.will("/hook", says(201, b"thanks"), says(410, b"no more")))
    path = f"/v1/endpoints/{made['id']}/test"
    taken = (await post(receiver, None, path)).json()
    assert (taken["ok"], taken["status"], taken["answer"], taken["problem"]) == (True, 201, "thanks", None)
    assert is_signed_by(made["secret"], host.seen[0])
    assert json.loads(host.seen[0][3])["type"] == "endpoint.test"
    assert host.seen[0][2]["webhook-id"] == taken["notification"]
    refused = (await post(receiver, None, path)).json()
    assert (refused["ok"], refused["status"], refused["answer"]) == (False, 410, "no more")
    assert refused["problem"] == "the endpoint answered 410"
    host.answers.clear()
    assert receiver.rows("SELECT count(*) FROM notifications") == [(0,)]


# Lists


async def test_endpoints_are_listed_newest_first_in_pages(receiver: Receiver) -> None:
    made = []
    for number in range(5):
        receiver.clock.move(seconds=1)
        made.append((await add(receiver, f"https://app.example.com/{number}", user=f"u_{number % 2}"))["id"])
    page = await get(receiver, "/v1/endpoints?limit=2")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:2:-1], True)
    page = await get(receiver, f"/v1/endpoints?limit=5&before={made[3]}")
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[2::-1], False)
    assert [each["user"] for each in (await get(receiver, "/v1/endpoints?user=u_1"))["data"]] == ["u_1"] * 2
    for query, field in (("limit=0", "limit"), ("before=x", "before"), ("status=on", "status")):
        assert is_problem(await receiver.client.get(f"/v1/endpoints?{query}", headers=AUTH), 422, field=field)


async def test_without_a_key_nothing_of_it_is_there(receiver: Receiver) -> None:
    asked = [
        ("POST", "/v1/endpoints"), ("GET", "/v1/endpoints"), ("GET", f"/v1/endpoints/{MISSING}"),
        ("PATCH", f"/v1/endpoints/{MISSING}"), ("DELETE", f"/v1/endpoints/{MISSING}"),
        ("POST", f"/v1/endpoints/{MISSING}/test"), ("POST", f"/v1/endpoints/{MISSING}/rotate-secret"),
    ]  # fmt: skip
    for method, path in asked:
        assert is_problem(await receiver.client.request(method, path), 401)
        if MISSING in path:
            content = {"enabled": True} if method == "PATCH" else None
            assert is_problem(await receiver.client.request(method, path, json=content, headers=AUTH), 404)


# Bad input

BAD = [
    ({"url": "https://10.0.0.1/geheim"}, "url"), ({"url": "http://93.184.215.14/geheim"}, "url"),
    ({"url": "https://[::1]/geheim"}, "url"), ({"url": "https://169.254.169.254/geheim"}, "url"),
    ({"url": "ftp://x.example/geheim"}, "url"), ({"url": "geheim"}, "url"), ({"url": ""}, "url"),
    ({"url": "https://x.example/" + "x" * 2048}, "url"), ({"url": "https://x.example/\r\nb: c"}, "url"),
    ({"url": "https://x.example/" + "\u4e2d" * 700}, "url"),  # 2,118 bytes
    ({"url": "https://x.example/\u202egeheim"}, "url"), ({"url": "https://x.example/ geheim"}, "url"),
    ({"url": "javascript:geheim"}, "url"), ({"url": "file:///geheim"}, "url"),
    ({"types": ["job.nothing"]}, "types"), ({"name": "a\nb"}, "name"), ({"name": ""}, "name"), ({"user": ""}, "user"),
    ({"secret": "geheim"}, "secret"), ({"channel": "apprise"}, "channel"), ({"channel": "email"}, "channel"),
    ({"channel": "Slack!"}, "channel"), ({"channel": "nobody"}, "channel"),
    ({"headers": {"Host": "geheim"}}, "headers"), ({"headers": {"content-length": "1"}}, "headers"),
    ({"headers": {"webhook-id": "geheim"}}, "headers"), ({"headers": {"Transfer-Encoding": "chunked"}}, "headers"),
    ({"headers": {"Connection": "x"}}, "headers"), ({"headers": {"a b": "geheim"}}, "headers"),
    ({"headers": {"": "geheim"}}, "headers"), ({"headers": {"X-A": "geheim\r\nX-B: c"}}, "headers.X-A"),
    ({"headers": {"X-A": "geheim\n"}}, "headers.X-A"), ({"headers": {"X-A": ""}}, "headers.X-A"),
    ({"headers": {"X-A": "é"}}, "headers.X-A"), ({"headers": {"X-A": "x" * 1025}}, "headers.X-A"),
    ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"), ({"headers": {f"X-{n}": "1" for n in range(21)}}, "headers"),
    ({"headers": {"X-A": 7}}, "headers[...]"), ({"frob": 1}, "body"), ({"enabled": False}, "body"), ({"url": 7}, "url"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "field"), BAD, ids=lambda value: repr(value)[:40])
async def test_what_cannot_be_registered_is_a_422_that_names_the_field_and_shows_no_secret(
    receiver: Receiver, content: dict[str, Any], field: str
) -> None:
    response = await post(receiver, {"url": "https://app.example.com/hooks", **content})
    assert is_problem(response, 422, field=field)
    assert response.json()["allowed"]
    if field in ("secret", "headers.X-A"):
        assert "geheim" not in response.text
    assert receiver.rows("SELECT count(*) FROM endpoints") == [(0,)]


@pytest.mark.parametrize(
    ("content", "field"), [({}, "body"), ({"types": ["x"]}, "types"), ({"url": "https://x"}, "body")]
)
async def test_a_change_that_cannot_be_is_none(receiver: Receiver, content: dict[str, Any], field: str) -> None:
    made = await add(receiver, "https://app.example.com/hooks")
    assert is_problem(await change(receiver, made["id"], **content), 422, field=field)
    assert await get(receiver, f"/v1/endpoints/{made['id']}") == made | {"secret": "whsec_…"}


async def test_a_change_holds(receiver: Receiver) -> None:
    made = await add(receiver, "https://app.example.com/hooks", headers={"X-A": "1"}, types=["job.failed"])
    changed = (await change(receiver, made["id"], name="ours", types=[], headers={})).json()
    assert (changed["name"], changed["types"], changed["headers"]) == ("ours", [], {})
    assert await get(receiver, f"/v1/endpoints/{made['id']}") == changed


# From the settings


@pytest.fixture
def hooks(host: Host) -> dict[str, Any]:
    return {"name": "ours", "url": host.will("/hook", says(200)), "secrets": [OWN]}


async def test_the_settings_endpoints_are_there_at_the_start_and_follow_the_settings(
    tmp_path: Path, host: Host, hooks: dict[str, Any]
) -> None:
    async with a_receiver(tmp_path, host, endpoints=[hooks]) as receiver:
        (first,) = (await get(receiver, "/v1/endpoints"))["data"]
        assert (first["name"], first["origin"], first["enabled"]) == ("ours", "settings", True)
        await fails(receiver)
        await until(lambda: told(host, "/hook"))
        assert is_signed_by(OWN, host.seen[0])
        for answer in (
            await change(receiver, first["id"], types=[]),
            await receiver.client.delete(f"/v1/endpoints/{first['id']}", headers=AUTH),
            await post(receiver, {}, f"/v1/endpoints/{first['id']}/rotate-secret"),
        ):
            assert is_problem(answer, 409)
    async with a_receiver(tmp_path, host, endpoints=[hooks | {"types": ["video.stored"], "user": "u_7"}]) as receiver:
        (second,) = (await get(receiver, "/v1/endpoints"))["data"]
        assert (second["id"], second["types"], second["user"]) == (first["id"], ["video.stored"], "u_7")
    async with a_receiver(tmp_path, host, endpoints=[]) as receiver:
        (third,) = (await get(receiver, "/v1/endpoints"))["data"]
        assert (third["id"], third["enabled"], third["disabled_why"]) == (
            first["id"],
            False,
            "no longer in the settings",
        )
    async with a_receiver(tmp_path, host, endpoints=[hooks]) as receiver:
        (fourth,) = (await get(receiver, "/v1/endpoints"))["data"]
        assert (fourth["id"], fourth["enabled"], fourth["types"]) == (first["id"], True, [])


async def test_one_of_the_settings_that_was_disabled_by_hand_stays_so_over_a_restart(
    tmp_path: Path, host: Host, hooks: dict[str, Any]
) -> None:
    async with a_receiver(tmp_path, host, endpoints=[hooks]) as receiver:
        (made,) = (await get(receiver, "/v1/endpoints"))["data"]
        assert (await change(receiver, made["id"], enabled=False)).status_code == 200
    async with a_receiver(tmp_path, host, endpoints=[hooks | {"url": f"{host.url}/other"}]) as receiver:
        assert not (await get(receiver, f"/v1/endpoints/{made['id']}"))["enabled"]


@pytest.mark.parametrize(
    ("given", "says_why"),
    [
        ({"url": "https://10.0.0.1/geheim"}, "Private-Use"),
        ({"channel": "email", "url": "mailto:a@example.com"}, "smtp_host"),
        ({"channel": "apprise", "url": "slack://geheim"}, "Apprise knows"),
        ({"channel": "carrier-pigeon"}, "carrier-pigeon"),
    ],
)
async def test_a_settings_endpoint_that_could_never_be_notified_is_said_at_the_start(
    tmp_path: Path, host: Host, hooks: dict[str, Any], given: dict[str, Any], says_why: str
) -> None:
    if given.get("channel") == "apprise":
        pytest.importorskip("apprise", reason="an extra")
    with pytest.raises(ConfigurationError, match=says_why) as caught:
        async with a_receiver(tmp_path, host, endpoints=[hooks | given]):
            await asyncio.sleep(0)
    assert "slack://geheim" not in str(caught.value)
    assert caught.value.__suppress_context__, "a log would show what led to it, the whole URL among it"


async def test_a_channel_without_a_guard_takes_urls_from_the_settings_alone(
    tmp_path: Path, host: Host, hooks: dict[str, Any]
) -> None:
    pytest.importorskip("apprise", reason="an extra")
    url = f"json://{host.url.removeprefix('http://')}/hook"
    async with a_receiver(tmp_path, host, endpoints=[hooks | {"channel": "apprise", "url": url}]) as receiver:
        assert is_problem(await post(receiver, {"url": url, "channel": "apprise"}), 422, field="channel")
        job = {"provider": "useapi", "notify": [{"url": url, "channel": "apprise"}]}
        answer = await receiver.client.put(f"/v1/jobs/{new_id('job')}", json=job, headers=AUTH)
        assert is_problem(answer, 422, field="channel")
        failed = await fails(receiver)
        await until(lambda: host.asked("/hook"))
        assert failed in host.seen[0][3].decode()
        assert json.loads((await receiver.client.get("/v1/endpoints", headers=AUTH)).text)["data"][0]["url"] == "json:…"
