"""*Providers* and *Settings*: what is set up and what is missing, without a secret; pausing; revoking a key."""

from pathlib import Path
from typing import Any

from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import checked, gather
from replyhook_receiver.web.app import create_app
from tests.receiver.support import (
    API_KEY,
    AUTH,
    PUBLIC_URL,
    SECRETS,
    SIGNING_KEY,
    WHSEC,
    Host,
    Receiver,
    a_receiver,
    fal_body,
    useapi_body,
)
from tests.receiver.web.dashboard.visiting import a_visitor
from tests.receiver.web.test_account_callbacks import PIXVERSE, account_path

KEYS: dict[str, dict[str, Any]] = {
    "fal": {"api_key": "fal-geheim"},
    "pixverse": PIXVERSE | {"api_key": "pixverse-key-geheim"},
}


async def told(receiver: Receiver, path: str) -> dict[str, dict[str, Any]]:
    response = await receiver.client.get(path, headers=AUTH)
    assert response.status_code == 200, response.text
    assert "geheim" not in response.text
    return {each["name"]: each for each in response.json()["data"]}


async def test_providers_say_what_is_set_up_what_is_missing_and_never_a_secret(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver, a_visitor(receiver) as visitor:
        found = await told(receiver, "/v1/providers")
        page = await visitor.get("/providers")
    assert [name for name, each in found.items() if each["configured"]] == ["fal", "pixverse"]
    assert found["segmind"]["missing"] == [{"what": "its API key", "variable": "SEGMIND_API_KEY"}]
    assert "SEGMIND_API_KEY" in page.text
    assert account_path() in page.text
    assert "geheim" not in page.text


async def test_a_provider_that_could_not_call_back_is_incomplete_and_says_what_to_set(
    tmp_path: Path, host: Host
) -> None:
    given = {"pixverse": {"api_key": "pixverse-key-geheim"}}
    async with a_receiver(tmp_path, host, providers=given) as receiver:
        found = (await told(receiver, "/v1/providers"))["pixverse"]
    assert (found["has_key"], found["configured"]) == (True, False)
    assert "REPLYHOOK_PROVIDERS__PIXVERSE__WEBHOOK_SECRETS" in [each["variable"] for each in found["missing"]]


async def test_providers_say_how_they_do(receiver: Receiver) -> None:
    for number, word in enumerate(["COMPLETED", "FAILED", "FAILED", "GENERATING"]):
        job, path = await receiver.register()
        await receiver.submitted(job, f"video-{number}")
        receiver.clock.move(seconds=10 * (number + 1))
        more = {"url": "http://127.0.0.1:9/x.mp4"} if word == "COMPLETED" else {}
        assert (await receiver.client.post(path, content=useapi_body(job, word, f"video-{number}", **more))).is_success
    await receiver.client.post("/callbacks/useapi/wrong", content=b"{}")
    job, path = await receiver.register("fal")
    await receiver.submitted(job, "request-1")
    body = fal_body("request-1", "ERROR")
    signed = receiver.fal.headers(body, request_id="request-1")
    assert (await receiver.client.post(path, content=body, headers=signed)).is_success
    receiver.clock.move(minutes=5)
    found = await told(receiver, "/v1/providers")
    useapi, fal = found["useapi"], found["fal"]
    assert (useapi["jobs"], useapi["succeeded"], useapi["failed"]) == (4, 1, 2)
    assert round(useapi["success_rate"], 3) == 0.333
    assert useapi["called_back_after_seconds"] == {"p50": 20.0, "p95": 30.0}
    assert sum(useapi["verification_failures"].values()) == 1
    assert useapi["last_callback"] is not None
    assert (fal["public_keys"]["count"], fal["public_keys"]["age_seconds"]) == (1, 300)
    assert (fal["users"], useapi["users"]) == ({"configured": 0, "learned": 1}, None)
    assert fal["media_hosts"] == ["127.0.0.1"]
    assert useapi["can_call_back"] is True
    assert useapi["reply_urls"] == f"{PUBLIC_URL}/callbacks/useapi/"
    assert found["segmind"]["reply_urls"] is None
    assert found["segmind"]["success_rate"] is None
    async with a_visitor(receiver) as visitor:
        page = await visitor.get("/providers")
    assert "33.3 % of 3 ended well" in page.text
    assert "fetched 5 min ago" in page.text


async def test_the_url_for_a_console_is_for_those_who_may_operate(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, providers=KEYS) as receiver:
        key = (await receiver.key("read"))["authorization"].removeprefix("Bearer ")
        async with a_visitor(receiver, key=key) as reader:
            page = await reader.get("/providers")
        assert page.status_code == 200
        assert account_path() not in page.text
        for name, status in (("pixverse", 200), ("fal", 404), ("sora", 404)):
            answer = await receiver.client.post(f"/v1/providers/{name}/reply-url", headers=AUTH)
            assert answer.status_code == status, answer.text


def settings_of(tmp_path: Path) -> tuple[Settings, Any]:
    toml = tmp_path / "replyhook.toml"
    text = f'api_keys = ["{API_KEY}"]\nsigning_keys = ["{SIGNING_KEY}"]\nnotification_secrets = ["{WHSEC}"]\n'
    toml.write_text(f'{text}data_dir = "{tmp_path}/data"\n[providers.fal]\napi_key = "fal-geheim"\n')
    said = gather({"REPLYHOOK_LOG_LEVEL": "warning"}, toml_file=toml, flags={"port": 8099})
    return checked(said), said


async def test_settings_are_told_with_where_each_comes_from_and_without_a_secret(tmp_path: Path, host: Host) -> None:
    settings, said = settings_of(tmp_path)
    app = create_app(settings, secrets=SECRETS, said=said)
    async with a_receiver(tmp_path / "other", host) as receiver, app.router.lifespan_context(app):
        receiver.app = app
        async with a_visitor(receiver) as visitor:
            page = await visitor.get("/settings")
    assert page.status_code == 200
    assert "replyhook.toml, line 1" in page.text
    assert "REPLYHOOK_LOG_LEVEL" in page.text
    assert "--port" in page.text
    assert "********" in page.text
    assert not any(secret in page.text for secret in ("geheim", API_KEY, SIGNING_KEY, WHSEC))


async def test_a_reader_sees_neither_the_settings_nor_the_keys(receiver: Receiver) -> None:
    keys = {
        scope: (await receiver.key(scope))["authorization"].removeprefix("Bearer ") for scope in ("read", "operate")
    }
    async with (
        a_visitor(receiver, key=keys["read"]) as reader,
        a_visitor(receiver, key=keys["operate"]) as operator,
    ):
        read, operated = await reader.get("/settings"), await operator.get("/settings")
        assert read.status_code == operated.status_code == 200
        assert "min_free_disk_bytes" not in read.text
        assert read.text.count("<form") == 2, "searching and signing out alone"
        assert "min_free_disk_bytes" in operated.text
        assert "API keys" not in operated.text
        ident = receiver.rows("SELECT id FROM api_keys")[0][0]
        refused = await operator.post(f"/settings/keys/{ident}/revoke", {"csrf": await operator.csrf()})
        assert refused.status_code == 403
    assert receiver.rows("SELECT count(*) FROM api_keys WHERE revoked_ms IS NOT NULL") == [(0,)]


async def test_the_work_is_paused_and_goes_on_and_both_are_noted(receiver: Receiver) -> None:
    async with a_visitor(receiver) as visitor:
        fields = {"csrf": await visitor.csrf(), "reason": "<b>moving</b> & mending"}
        assert (await visitor.post("/settings/hold", fields)).status_code == 303
        page = await visitor.get("/settings")
        assert "&lt;b&gt;moving&lt;/b&gt; &amp; mending" in page.text
        assert (await receiver.client.get("/v1/hold", headers=AUTH)).json()["held"] is True
        await visitor.post("/settings/go-on", fields)
    assert (await receiver.client.get("/v1/hold", headers=AUTH)).json()["held"] is False
    assert set(receiver.rows("SELECT action, outcome FROM audit")) == {("hold", "done"), ("go on", "done")}


async def test_an_admin_revokes_a_key_and_who_is_signed_in_with_it_is_out(receiver: Receiver) -> None:
    key = (await receiver.key("read", name="lost laptop"))["authorization"].removeprefix("Bearer ")
    ident = receiver.rows("SELECT id FROM api_keys")[0][0]
    async with a_visitor(receiver) as admin, a_visitor(receiver, key=key) as lost:
        page = await admin.get("/settings")
        assert "lost laptop" in page.text
        assert key not in page.text
        await admin.post(f"/settings/keys/{ident}/revoke", {"csrf": await admin.csrf()})
        assert (await lost.get("/jobs")).headers["location"].startswith("/sign-in")
    noted = receiver.rows("SELECT action, thing, thing_id, outcome FROM audit WHERE action = 'revoke'")
    assert noted == [("revoke", "key", ident, "done")]
