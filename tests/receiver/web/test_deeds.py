"""What is done over the API is noted as a button's doing is, by the key that asked, once; and can be read."""

from typing import Any

import httpx
import pytest

from replyhook_receiver.web.deeds import DEEDS
from replyhook_receiver.web.route_scopes import PAGES, RULES
from tests.receiver.support import AUTH, Host, Receiver, says, until, useapi_body
from tests.receiver.web.dashboard.visiting import a_visitor
from tests.receiver.web.test_deliveries import a_refused_job

NOTED = "SELECT action, thing, thing_id, job_id, outcome, detail FROM audit ORDER BY id"


async def asked(receiver: Receiver, method: str, path: str, content: Any = None, **headers: str) -> httpx.Response:
    return await receiver.client.request(method, path, json=content, headers={**AUTH, **headers})


def deeds(receiver: Receiver) -> list[tuple[Any, ...]]:
    """What was noted, each time something later than the last."""
    return receiver.rows(NOTED)


def test_every_form_of_the_dashboard_stands_for_a_route_whose_doings_are_noted() -> None:
    assert set(DEEDS) <= set(RULES)
    assert {rule for form, rule in PAGES.items() if form.startswith("POST ")} <= set(DEEDS)


async def test_what_is_done_to_an_endpoint_is_noted_step_by_step(receiver: Receiver, host: Host) -> None:
    made = await asked(receiver, "POST", "/v1/endpoints", {"url": host.will("/hook", says(204))})
    endpoint, secret = made.json()["id"], made.json()["secret"]
    path = f"/v1/endpoints/{endpoint}"
    for method, more, content in (
        ("PATCH", "", {"name": "shop"}),
        ("PATCH", "", {"enabled": False}),
        ("PATCH", "", {"enabled": True}),
        ("POST", "/test", None),
        ("POST", "/rotate-secret", {}),
        ("DELETE", "", None),
    ):
        receiver.clock.move(seconds=1)
        assert (await asked(receiver, method, f"{path}{more}", content)).is_success
    actions = ["add", "change", "disable", "enable", "test", "rotate secret", "remove"]
    assert deeds(receiver) == [(each, "endpoint", endpoint, None, "done", "over the API") for each in actions]
    assert secret not in str(receiver.rows("SELECT * FROM audit"))


async def test_what_is_done_to_the_receiver_and_its_keys_names_the_key_that_asked(receiver: Receiver) -> None:
    ops = await receiver.key("admin", name="night shift")
    receiver.clock.move(seconds=1)
    for method, path in (("PUT", "/v1/hold?reason=moving"), ("DELETE", "/v1/hold")):
        assert (await receiver.client.request(method, path, headers=ops)).is_success
        receiver.clock.move(seconds=1)
    ((key,),) = receiver.rows("SELECT id FROM api_keys")
    assert (await asked(receiver, "DELETE", f"/v1/keys/{key}")).status_code == 204
    assert receiver.rows("SELECT action, thing, thing_id, key_name, detail FROM audit ORDER BY id") == [
        ("make", "key", key, "a key of the settings", "over the API; for admin"),
        ("hold", "receiver", "work", "night shift", "over the API; moving"),
        ("go on", "receiver", "work", "night shift", "over the API"),
        ("revoke", "key", key, "a key of the settings", "over the API"),
    ]
    assert receiver.rows("SELECT DISTINCT key_id FROM audit WHERE key_name = 'night shift'") == [(key,)]


async def test_what_is_done_about_a_job_stands_on_its_page_and_a_question_what_would_come_is_no_deed(
    receiver: Receiver,
) -> None:
    job, path = await receiver.register()
    await receiver.submitted(job, "video-1")
    assert (await receiver.client.post(path, content=useapi_body(job, "FAILED", "video-1"))).status_code == 200
    (callback,) = await receiver.callbacks(job)
    replay = f"/v1/callbacks/{callback['id']}/replay"
    assert (await asked(receiver, "POST", replay, {"what": ["state"]})).is_success
    assert deeds(receiver) == []
    assert (await asked(receiver, "POST", replay, {"what": ["state"], "dry_run": False})).is_success
    receiver.clock.move(seconds=1)
    assert (await asked(receiver, "POST", f"/v1/jobs/{job}/cancel")).status_code == 409
    receiver.clock.move(seconds=1)
    assert (await asked(receiver, "POST", f"/v1/jobs/{job}/retry")).status_code == 409
    replayed, canceled, retried = deeds(receiver)
    assert replayed == ("replay", "callback", callback["id"], job, "done", "over the API; state")
    assert canceled[:5] == ("cancel", "job", job, job, "refused")
    assert "has ended already" in canceled[5]
    assert retried[:5] == ("retry", "job", job, job, "refused")
    async with a_visitor(receiver) as visitor:
        assert (await visitor.get(f"/jobs/{job}")).text.count("over the API") == 3


async def test_deliveries_put_back_together_are_one_deed_however_often_the_request_comes(
    receiver: Receiver, host: Host
) -> None:
    job = await a_refused_job(receiver, host.will("/hook", says(204)))
    await until(lambda: receiver.rows("SELECT 1 FROM deliveries WHERE status = 'delivered'"))
    wanted = {"job": job, "status": "delivered"}
    would = await asked(receiver, "POST", "/v1/deliveries/retry", {**wanted, "dry_run": True})
    assert (would.status_code, deeds(receiver)) == (200, [])
    answers = [
        await asked(receiver, "POST", "/v1/deliveries/retry", wanted, **{"idempotency-key": "once"}) for _ in range(3)
    ]
    assert [each.json()["retried"] for each in answers] == [1, 1, 1]
    said = f"status delivered, job {job}"
    assert deeds(receiver) == [("retry", "deliveries", said, job, "done", "over the API; 1 put back")]


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", "/v1/jobs/none/cancel", None),
        ("POST", "/v1/callbacks/cb_none/replay", {"what": ["state"], "dry_run": False}),
        ("POST", "/v1/endpoints", {"url": "ftp://nowhere"}),
        ("DELETE", "/v1/endpoints/ep_none", None),
        ("POST", "/v1/deliveries/retry", {}),
        ("POST", "/v1/deliveries/dlv_none/retry", None),
        ("DELETE", "/v1/keys/key_none", None),
    ],
)
async def test_what_cannot_be_or_is_not_there_was_done_to_nothing(
    receiver: Receiver, method: str, path: str, content: Any
) -> None:
    assert (await asked(receiver, method, path, content)).status_code in (404, 422)
    assert deeds(receiver) == []


async def test_settings_show_the_latest_of_all_kinds_to_operators_of_the_whole_receiver_alone(
    receiver: Receiver, host: Host
) -> None:
    gone = (await asked(receiver, "POST", "/v1/endpoints", {"url": host.will("/gone", says(204))})).json()["id"]
    stays = (await asked(receiver, "POST", "/v1/endpoints", {"url": host.will("/stays", says(204))})).json()["id"]
    assert (await asked(receiver, "DELETE", f"/v1/endpoints/{gone}")).status_code == 204
    keys = {
        name: (await receiver.key(scope, name=f"{name} <b>key</b>", **of))["authorization"].removeprefix("Bearer ")
        for name, scope, of in (
            ("operator", "operate", {}),
            ("reader", "read", {}),
            ("ann", "operate", {"user": "ann"}),
        )
    }
    async with (
        a_visitor(receiver, key=keys["operator"]) as operator,
        a_visitor(receiver, key=keys["reader"]) as reader,
        a_visitor(receiver, key=keys["ann"]) as ann,
    ):
        await operator.post("/settings/hold", {"csrf": await operator.csrf(), "reason": "<i>moving</i>"})
        page = await operator.get("/settings")
        others = [await reader.get("/settings"), await ann.get("/settings")]
    assert "Done by hand" in page.text
    assert "operator &lt;b&gt;key&lt;/b&gt;" in page.text
    assert "the work is paused (&lt;i&gt;moving&lt;/i&gt;)" in page.text
    assert f'href="/endpoints/{stays}"' in page.text
    assert gone in page.text
    assert f'href="/endpoints/{gone}"' not in page.text
    assert [each.status_code for each in others] == [200, 403]
    assert not any("Done by hand" in each.text for each in others)


async def test_settings_show_fifty_of_many(receiver: Receiver) -> None:
    for number in range(60):
        assert (await asked(receiver, "PUT", f"/v1/hold?reason=reason-{number:02d}-")).is_success
        receiver.clock.move(seconds=1)
    async with a_visitor(receiver) as visitor:
        page = (await visitor.get("/settings")).text
    assert page.count("over the API") == 50
    assert "reason-10-" in page
    assert "reason-09-" not in page


@pytest.mark.parametrize("ident", ["", "..", "%00", "x" * 300])
async def test_settings_show_a_deed_whose_form_named_nothing_that_there_is(receiver: Receiver, ident: str) -> None:
    job, _ = await receiver.register()
    async with a_visitor(receiver) as visitor:
        await visitor.post(f"/jobs/{job}/replay", {"csrf": await visitor.csrf(), "callback": ident})
        page = await visitor.get("/settings")
    assert page.status_code == 200
    assert f'href="/jobs/{job}"' in page.text
    assert 'href="/callback/' not in page.text
