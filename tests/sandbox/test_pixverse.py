"""The imitation of the PixVerse Platform; its signature is written here once more, from the four official samples."""

import base64
import hashlib
import hmac
import json
import re
import string
import time
import urllib.parse
import uuid

import pytest

from replyhook_receiver.sandbox import SandboxOptions, enter_webhooks
from replyhook_receiver.sandbox.pixverse import PixVerse
from replyhook_receiver.sandbox.video import make_clip
from tests.sandbox.support import PIXVERSE, PIXVERSE_SECRET, a_world, in_process, pixverse_headers

FORM_SAFE = string.ascii_letters + string.digits + "*-._"


def form_encoded(text):
    """As URLSearchParams and URLEncoder do it."""
    encoded = (chr(byte) if chr(byte) in FORM_SAFE else f"%{byte:02X}" for byte in text.encode())
    return "".join("+" if piece == "%20" else piece for piece in encoded)


def value_text(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def canonical(body, sample):
    payload = json.loads(body)
    names = sorted(payload) if sample in ("go", "java") else list(payload)
    if sample in ("python", "go"):
        return urllib.parse.urlencode({name: value_text(payload[name]) for name in names}, safe="")
    return "&".join(f"{form_encoded(name)}={form_encoded(value_text(payload[name]))}" for name in names)


def is_signed(headers, body, sample="node", secret=PIXVERSE_SECRET):
    nonce = headers.get("webhook-nonce", "")
    if not re.fullmatch("[A-Za-z0-9]{32}", nonce) or abs(time.time() - int(headers["webhook-timestamp"])) > 30:
        return False
    message = f"{headers['webhook-timestamp']}\n{nonce}\n{canonical(body, sample)}"
    mac = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(mac).decode(), headers["webhook-signature"])


@pytest.mark.parametrize("sample", ["python", "node", "go", "java"])
async def test_a_callback_is_signed_as_the_chosen_sample_does_it_and_as_no_other(tmp_path, sample):
    async with a_world(tmp_path, pixverse_signer=sample) as world:
        answer = (await world.pixverse(prompt="on [[odd_link]]")).json()
        video_id = answer["Resp"]["video_id"]
        await world.listener.until(1)
        ((path, headers, body),) = world.listener.received
        report = json.loads(body)

        assert (answer["ErrCode"], answer["ErrMsg"]) == (0, "Success")
        assert video_id > 2**53
        assert path == "/callbacks/pixverse/account"
        assert list(report) == ["id", "status", "url", "size", "has_audio", "credits"]
        assert (report["id"], report["status"], report["has_audio"]) == (str(video_id), 1, False)
        assert b'"size":10.5,' in body
        assert [each for each in ("python", "node", "go", "java") if is_signed(headers, body, each)] == [sample]
        assert uuid.UUID(headers["ai-trace-id"])
        assert (await world.client.get(report["url"])).content[4:8] == b"ftyp"


async def test_the_result_call_goes_from_5_to_1_and_has_the_id_as_a_number(tmp_path):
    async with a_world(tmp_path, speed=45 / 1.5) as world:
        video_id = (await world.pixverse()).json()["Resp"]["video_id"]
        before = (await world.pixverse_result(video_id))["Resp"]
        await world.finished(str(video_id))
        after = (await world.pixverse_result(video_id))["Resp"]
        assert (before["status"], before["url"], after["status"], after["id"]) == (5, "", 1, video_id)
        assert after["url"] == json.loads(world.listener.received[0][2])["url"]
        assert after["outputHeight"] == 360
        assert await world.calls("pixverse") == {"submit": 1, "status": 2, "upload": 1, "cancel": 0, "billed": 1}


@pytest.mark.parametrize(("fault", "status"), [("failed", 8), ("moderated", 7)])
async def test_a_failure_is_told_with_its_number_and_an_empty_url(tmp_path, fault, status):
    async with a_world(tmp_path) as world:
        video_id = (await world.pixverse(prompt=f"[[fault:{fault}]]")).json()["Resp"]["video_id"]
        await world.listener.until(1)
        _, headers, body = world.listener.received[0]
        assert is_signed(headers, body)
        assert (json.loads(body)["status"], json.loads(body)["url"]) == (status, "")
        assert (await world.pixverse_result(video_id))["Resp"]["status"] == status


def test_it_retries_for_more_than_five_hours_until_it_reads_exactly_ok():
    rules = PixVerse.delivery
    assert rules.ladder == (2, 10, 30, 60, 300, 900, 3600, 14400)
    assert rules.is_delivered(200, "ok")
    for answer in ((200, '"ok"'), (200, "ok\n"), (200, "OK"), (200, ""), (201, "ok"), (204, "")):
        assert not rules.is_delivered(*answer)


@pytest.mark.parametrize("resign", [False, True])
async def test_a_retry_carries_the_first_time_and_nonce_unless_asked_otherwise(tmp_path, resign):
    async with a_world(tmp_path, statuses=[500, 202], pixverse_resign=resign) as world:
        await world.pixverse()
        await world.listener.until(3)
        assert all(is_signed(headers, body) for _, headers, body in world.listener.received)
        nonces = {headers["webhook-nonce"] for _, headers, _ in world.listener.received}
        assert len(nonces) == (3 if resign else 1)


async def test_no_forged_callback_is_signed_by_any_sample_for_its_text(tmp_path):
    async with a_world(tmp_path) as world:
        await world.pixverse(prompt="[[fault:forged]]")
        await world.listener.until(8)
        for number, (_, headers, body) in enumerate(world.listener.received):
            # The last has two links, and who parses before looking sees only the signed one: the weak spot itself.
            assert is_signed(headers, body) == (number == 7), number
            assert json.loads(body)["status"] == 1
        texts = [body for _, _, body in world.listener.received]
        assert b'"credits":100e0' in texts[5]
        assert json.loads(texts[5])["credits"] == 100
        assert json.loads(texts[6])["credits"] == 9100
        assert texts[7].count(b'"url":') == 2


async def test_a_used_trace_id_makes_a_job_that_never_ends(tmp_path):
    async with a_world(tmp_path, speed=100_000) as world:
        headers = pixverse_headers()
        media_id = (await world.pixverse_media())["Resp"]["media_id"]
        first = (await world.pixverse(headers=headers, video_media_id=media_id)).json()["Resp"]["video_id"]
        second = (await world.pixverse(headers=headers, video_media_id=media_id)).json()["Resp"]["video_id"]
        await world.finished(str(first), callbacks=1)
        assert (await world.pixverse_result(first))["Resp"]["status"] == 1
        assert (await world.pixverse_result(second))["Resp"]["status"] == 5
        assert len(world.listener.received) == (await world.calls("pixverse"))["billed"] == 1


async def test_the_console_decides_where_a_webhook_goes_and_what_signs_it(tmp_path):
    async with a_world(tmp_path) as world:
        assert (await world.pixverse(webhook_id="77")).json()["ErrCode"] == 400017
        registered = await world.console(webhook_id="77", secret="another")
        assert registered.json() == {"webhook_id": "77", "url": f"{world.base_url}/callbacks/pixverse/account"}
        await world.pixverse(webhook_id="77")
        await world.listener.until(1)
        assert is_signed(*world.listener.received[0][1:], secret="another")
        silent = (await world.pixverse(webhook_id="")).json()["Resp"]["video_id"]
        assert (await world.finished(str(silent)))["callbacks"] == []
        assert (await world.console(url="nowhere")).status_code == 400


def test_the_settings_name_the_secret_of_the_webhook_that_they_name(tmp_path):
    plain = SandboxOptions(base_url="http://127.0.0.1:1", work_dir=tmp_path)
    ours = SandboxOptions(base_url="http://h:1", work_dir=tmp_path, pixverse_webhooks={"1": ("http://a/", "mine")})
    assert PixVerse.settings(plain) == {
        "api_key": "sandbox-key",
        "base_url": "http://127.0.0.1:1/pixverse/openapi/v2",
        "media_hosts": "127.0.0.1",
        "webhook_id": "1",
        "webhook_secrets": PIXVERSE_SECRET,
    }
    assert PixVerse.settings(ours)["webhook_secrets"] == "mine"
    assert enter_webhooks(ours, {"pixverse": "http://b/"}).pixverse_webhooks == {"1": ("http://b/", "mine")}
    assert enter_webhooks(plain, {"pixverse": "http://b/"}).pixverse_webhooks == {"1": ("http://b/", PIXVERSE_SECRET)}
    assert "mine" not in repr(ours)
    with pytest.raises(ValueError, match="pixverse_signer"):
        SandboxOptions(base_url="http://a", work_dir=tmp_path, pixverse_signer="rust")


async def test_an_earlier_result_can_be_extended_by_its_id(tmp_path):
    async with a_world(tmp_path) as world:
        first = (await world.pixverse()).json()["Resp"]["video_id"]
        await world.finished(str(first))
        second = (await world.pixverse(source_video_id=first)).json()["Resp"]["video_id"]
        assert (await world.finished(str(second)))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt": ""}, 400011),
        ({"prompt": "x" * 2049}, 400018),
        ({"negative_prompt": "x" * 2049}, 400019),
        ({"video_media_id": "1"}, 400013),
        ({"duration": True}, 400013),
        ({"source_video_id": 1}, 400017),
        ({"source_video_id": 1, "video_media_id": 1}, 400017),
        ({"video_media_id": 1}, 400017),
        ({"model": "v7"}, 400017),
        ({"model": "v5", "duration": 6}, 400017),
        ({"model": "v5", "duration": 8, "quality": "1080p"}, 400017),
        ({"motion_mode": "fast", "duration": 8}, 400017),
        ({"quality": "480p"}, 400017),
        ({"style": "day"}, 400017),
        ({"seed": 2**31}, 400017),
    ],
    ids=str,
)
async def test_a_wrong_field_is_an_errcode_on_http_200(tmp_path, changes, code):
    async with in_process(tmp_path) as world:
        source = {} if {"video_media_id", "source_video_id"} & set(changes) else {"video_media_id": 1}
        response = await world.pixverse(**source | changes)
        assert (response.status_code, response.json()["ErrCode"]) == (200, code)


async def test_a_wrong_key_or_trace_id_is_an_errcode(tmp_path):
    async with in_process(tmp_path) as world:
        for headers, code in (
            ({}, 400012),
            (pixverse_headers() | {"api-key": "other"}, 400012),
            ({"api-key": "sandbox-key"}, 400011),
            ({"api-key": "sandbox-key", "ai-trace-id": "7"}, 400013),
            (pixverse_headers(), 500008),
        ):
            answer = await world.client.get(f"{PIXVERSE}/video/result/1", headers=headers)
            assert (answer.status_code, answer.json()["ErrCode"]) == (200, code)


async def test_an_upload_is_measured_and_the_balance_goes_down(tmp_path):
    async with a_world(tmp_path, credits=5) as world:
        assert "longer than 30" in (await world.pixverse_media(_served(tmp_path, world, "long", 31, 64)))["ErrMsg"]
        assert "1920" in (await world.pixverse_media(_served(tmp_path, world, "wide", 0.2, 1922)))["ErrMsg"]
        assert (await world.pixverse_media(f"{world.base_url}/nothing.mp4"))["ErrCode"] == 400017
        clip = (await world.client.get(world.source_url)).content
        answer = await world.client.post(
            f"{PIXVERSE}/media/upload", files={"file": ("in.mp4", clip, "video/mp4")}, headers=pixverse_headers()
        )
        assert (await world.client.get(answer.json()["Resp"]["url"])).content == clip
        assert len(list((tmp_path / "media/pixverse").glob("*-*.mp4"))) == 1

        video_id = (await world.pixverse(video_media_id=answer.json()["Resp"]["media_id"])).json()["Resp"]["video_id"]
        await world.finished(str(video_id))
        balance = (await world.client.get(f"{PIXVERSE}/account/balance", headers=pixverse_headers())).json()
        assert balance["Resp"]["credit_package"] == 400


def _served(tmp_path, world, name, seconds, width):
    make_clip(tmp_path / f"media/pixverse/{name}.mp4", seconds=seconds, width=width, height=64, fps=5)
    return f"{world.base_url}/media/pixverse/{name}.mp4"
