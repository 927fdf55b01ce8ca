"""The imitation of fal.ai, checked with nothing of ours: its answers, its signature, its keys."""

import base64
import hashlib
import json
import time

import anyio
import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from tests.sandbox.support import FAL, FAL_EXTEND, a_world, in_process


def is_signed_by(key_set, headers, body, *, user_id="sandbox-user"):
    digest = hashlib.sha256(body).hexdigest()
    assert abs(time.time() - int(headers["x-fal-webhook-timestamp"])) < 30
    lines = [headers["x-fal-webhook-request-id"], user_id, headers["x-fal-webhook-timestamp"], digest]
    for key in key_set["keys"]:
        assert len(key["x"]) == 43
        try:
            VerifyKey(base64.urlsafe_b64decode(key["x"] + "=")).verify(
                "\n".join(lines).encode(), bytes.fromhex(headers["x-fal-webhook-signature"])
            )
        except BadSignatureError:
            continue
        return True
    return False


async def key_set(world):
    return (await world.client.get("/fal-rest/.well-known/jwks.json")).json()


async def test_a_job_is_extended_and_called_back_with_a_signature_that_holds(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.fal(generate_audio_switch=True)).json()
        assert set(accepted) == {"request_id", "gateway_request_id", "response_url", "status_url", "cancel_url"}
        await world.listener.until(1)
        path, headers, body = world.listener.received[0]
        report = json.loads(body)
        result = (await world.client.get(accepted["response_url"], headers=FAL)).json()

        assert path == "/callbacks/fal/token"
        assert is_signed_by(await key_set(world), headers, body)
        assert report["status"] == "OK"
        assert report["request_id"] == headers["x-fal-webhook-request-id"] == accepted["request_id"]
        assert report["payload"] == result
        video = await world.client.get(report["payload"]["video"]["url"])
        assert len(video.content) == report["payload"]["video"]["file_size"]
        assert await world.calls("fal") == {"submit": 1, "status": 1, "upload": 0, "cancel": 0, "billed": 1}


async def test_the_status_goes_from_the_queue_through_progress_to_completed(tmp_path):
    async with a_world(tmp_path, speed=45 / 2) as world:
        accepted = (await world.fal(reply=False)).json()
        seen, codes = [], set()
        with anyio.fail_after(60):
            while "COMPLETED" not in seen:
                response = await world.client.get(accepted["status_url"], headers=FAL)
                answer = response.json()
                seen += [answer["status"]] if answer["status"] not in seen else []
                codes.add((answer["status"], response.status_code))
                if answer["status"] == "IN_PROGRESS":
                    early = await world.client.get(accepted["response_url"], headers=FAL)
                    assert early.status_code in (200, 400)
                await anyio.sleep(0.02)
        assert seen == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
        assert codes == {("IN_QUEUE", 202), ("IN_PROGRESS", 202), ("COMPLETED", 200)}


async def test_a_webhook_inside_the_body_is_silently_ignored(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.fal(reply=False, fal_webhook=f"{world.listener.url}/callbacks/fal/token")).json()
        job = await world.finished(accepted["request_id"])
        assert (job["state"], job["callbacks"], world.listener.received) == ("succeeded", [], [])


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        ({"prompt": None}, "prompt", "type_error.str"),
        ({"duration": 16}, "duration", "value_error.number.not_le"),
        ({"duration": "5"}, "duration", "type_error.integer"),
        ({"resolution": "480p"}, "resolution", "type_error.enum"),
        ({"style": "noir"}, "style", "type_error.enum"),
        ({"seed": 1.5}, "seed", "type_error.integer"),
        ({"video_url": "file:///etc/passwd"}, "video_url", "value_error.url.scheme"),
    ],
)
async def test_a_wrong_input_is_refused_in_fals_shape(tmp_path, changes, where, kind):
    async with in_process(tmp_path) as world:
        response = await world.fal(**changes)
        assert response.status_code == 422
        error = response.json()["detail"][0]
        assert (error["loc"], error["type"]) == (["body", where], kind)


async def test_a_missing_prompt_is_refused_as_published_and_a_wrong_key_with_401(tmp_path):
    async with in_process(tmp_path) as world:
        body = {"video_url": world.source_url}
        missing = await world.client.post(FAL_EXTEND, json=body, headers=FAL)
        assert (missing.status_code, missing.json()) == (
            422,
            {"detail": [{"loc": ["body", "prompt"], "msg": "field required", "type": "value_error.missing"}]},
        )
        for headers in ({}, {"authorization": "Key other"}, {"authorization": "Bearer sandbox-key"}):
            assert (await world.client.post(FAL_EXTEND, json=body, headers=headers)).status_code == 401


async def test_a_video_that_cannot_be_fetched_fails_the_job_with_the_published_error(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.fal(video_url=f"{world.base_url}/nothing.mp4")).json()
        await world.listener.until(1)
        report = json.loads(world.listener.received[0][2])
        assert (report["status"], report["error"]) == ("ERROR", "Invalid status code: 422")
        assert report["payload"]["detail"][0]["type"] == "file_download_error"
        result = await world.client.get(accepted["response_url"], headers=FAL)
        status = (await world.client.get(accepted["status_url"], headers=FAL)).json()
        assert (result.status_code, result.headers["x-fal-error-type"]) == (422, "file_download_error")
        assert (status["status"], status["error_type"]) == ("COMPLETED", "file_download_error")
        assert (await world.calls("fal"))["billed"] == 0


async def test_an_uploaded_file_can_be_extended(tmp_path):
    async with a_world(tmp_path) as world:
        clip = (await world.client.get(world.source_url)).content
        upload = (
            await world.client.post(
                "/fal-rest/storage/upload/initiate?storage_type=gcs",
                json={"file_name": "in.mp4", "content_type": "video/mp4"},
                headers=FAL,
            )
        ).json()
        assert (await world.client.put(upload["upload_url"], content=clip)).status_code == 200
        assert (await world.client.put(upload["upload_url"], content=clip)).status_code == 403
        accepted = (await world.fal(video_url=upload["file_url"])).json()
        assert (await world.finished(accepted["request_id"]))["state"] == "succeeded"


async def test_a_canceled_job_stops_costs_nothing_and_cannot_be_canceled_twice(tmp_path):
    async with a_world(tmp_path, speed=1.0) as world:
        accepted = (await world.fal()).json()
        first = await world.client.put(accepted["cancel_url"], headers=FAL)
        assert (first.status_code, first.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
        await world.listener.until(1)
        assert json.loads(world.listener.received[0][2])["payload"]["error_type"] == "client_cancelled"
        second = await world.client.put(accepted["cancel_url"], headers=FAL)
        assert (second.status_code, second.json()) == (400, {"status": "ALREADY_COMPLETED"})
        assert await world.calls("fal") == {"submit": 1, "status": 0, "upload": 0, "cancel": 2, "billed": 0}


async def test_after_a_rotation_the_new_key_signs_and_the_old_one_can_be_dropped(tmp_path):
    async with a_world(tmp_path) as world:
        before = await key_set(world)
        await world.client.post("/_sandbox/rotate-keys")
        both = await key_set(world)
        await world.fal()
        await world.listener.until(1)
        _, headers, body = world.listener.received[0]
        assert both["keys"][0] == before["keys"][0]
        assert not is_signed_by(before, headers, body)
        assert is_signed_by(both, headers, body)

        await world.client.post("/_sandbox/rotate-keys?drop_old=1")
        alone = await key_set(world)
        assert len(alone["keys"]) == 1
        assert alone["keys"][0] not in both["keys"]
        await world.client.post("/_sandbox/jwks?broken=1")
        assert (await world.client.get("/fal-rest/.well-known/jwks.json")).status_code == 500
        await world.client.post("/_sandbox/jwks?broken=0")
        assert await key_set(world) == alone


async def test_a_callback_that_somebody_else_sends_can_be_signed(tmp_path):
    async with in_process(tmp_path) as world:
        body = json.dumps({"request_id": "r-1", "é": "\u2028"}, ensure_ascii=False)
        answer = await world.client.post("/_sandbox/fal/sign", json={"request_id": "r-1", "body": body})
        headers = answer.json()["headers"]
        assert headers["x-fal-webhook-request-id"] == "r-1"
        assert is_signed_by(await key_set(world), headers, body.encode())
        assert not is_signed_by(await key_set(world), headers, body.encode() + b" ")
        for wrong in (b"", b"[]", b'{"request_id": 1, "body": ""}', b'{"request_id": "r-1"}'):
            assert (await world.client.post("/_sandbox/fal/sign", content=wrong)).status_code == 400


async def test_no_forged_callback_proves_anything(tmp_path):
    async with a_world(tmp_path) as world:
        await world.fal(prompt="on [[fault:forged]]")
        await world.listener.until(3)
        keys = await key_set(world)
        unpublished, stranger, tampered = world.listener.received
        assert not is_signed_by(keys, *unpublished[1:])
        assert stranger[1]["x-fal-webhook-user-id"] == "another-fal-customer"
        assert is_signed_by(keys, *stranger[1:], user_id="another-fal-customer")
        assert not is_signed_by(keys, *tampered[1:])


async def test_a_garbage_callback_is_really_signed_and_unreadable(tmp_path):
    async with a_world(tmp_path) as world:
        await world.fal(prompt="on [[fault:garbage]]")
        await world.listener.until(1)
        _, headers, body = world.listener.received[0]
        assert is_signed_by(await key_set(world), headers, body)
        with pytest.raises(ValueError, match=r".*"):
            json.loads(body)
