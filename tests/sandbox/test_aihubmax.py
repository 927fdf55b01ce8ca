"""The imitation of AIHubMax: its answers, its one kind of callback, its refusals, its uploads."""

import base64
import json

import pytest

from replyhook_receiver.sandbox.aihubmax import AiHubMax
from tests.sandbox.support import AIHUBMAX_EXTEND, USEAPI, a_world, in_process

TASKS = "/aihubmax/v1/tasks"
UPLOADS = "/aihubmax/v1/files/upload"


async def task(world, task_id):
    return (await world.client.get(f"{TASKS}/{task_id}?sync_upstream=true", headers=USEAPI)).json()


async def test_a_task_is_extended_and_its_end_is_told_as_the_task_query_tells_it(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.aihubmax(generate_audio=True)).json()
        assert accepted == {
            "id": accepted["id"],
            "created": accepted["created"],
            "model": "pixverse-v6-extend",
            "object": "video.generation.task",
            "progress": 0,
            "status": "pending",
            "task_info": {"can_cancel": True, "estimated_time": 45},
            "type": "video",
        }
        assert accepted["id"].startswith(f"task-unified-{accepted['created']}-")
        await world.listener.until(1)
        ((path, _, body),) = world.listener.received
        told = json.loads(body)
        assert path == "/callbacks/aihubmax/abcdef"
        assert told == await task(world, accepted["id"])
        assert (told["status"], told["progress"], told["error"]) == ("completed", 100, None)
        assert told["usage"] == {"credits_reserved": 3, "user_group": "default"}
        (result,) = told["results"]
        assert (await world.client.get(result["url"])).content[4:8] == b"ftyp"
        assert await world.calls("aihubmax") == {"submit": 1, "status": 1, "upload": 0, "cancel": 0, "billed": 1}


async def test_evolinks_results_are_plain_strings(tmp_path):
    async with a_world(tmp_path) as world:
        await world.aihubmax(prompt="on [[evolink]]")
        (link,) = await world.told_links()
        told = json.loads(world.listener.received[0][2])
        assert (told["results"], told["task_info"]) == ([link], {"can_cancel": False})


async def test_a_completed_task_without_results_has_them_at_the_second_question(tmp_path):
    async with a_world(tmp_path) as world:
        task_id = (await world.aihubmax(prompt="[[fault:no_result]]")).json()["id"]
        await world.listener.until(1)
        told = json.loads(world.listener.received[0][2])
        first, second = await task(world, task_id), await task(world, task_id)
        for early in (told, first):
            assert (early["status"], early["results"]) == ("completed", None)
            assert early["progress"] < 100
        assert (second["progress"], len(second["results"])) == (100, 1)


def test_there_are_three_retries_within_seven_seconds_and_any_2xx_ends_them():
    rules = AiHubMax.delivery
    assert (rules.ladder, rules.timeout_seconds) == ((1, 2, 4), 10.0)
    assert rules.is_delivered(204, "")
    assert not rules.is_delivered(302, "ok")


async def test_a_deaf_listener_gets_four_attempts_and_then_nothing(tmp_path):
    async with a_world(tmp_path, statuses=[500] * 9) as world:
        task_id = (await world.aihubmax()).json()["id"]
        await world.finished(task_id, callbacks=4)
        assert [attempt["status"] for attempt in (await world.job(task_id))["callbacks"]] == [500] * 4


async def test_a_failure_is_told_with_its_code(tmp_path):
    async with a_world(tmp_path) as world:
        await world.aihubmax(video_url=f"{world.base_url}/nothing.mp4")
        await world.listener.until(1)
        told = json.loads(world.listener.received[0][2])
        assert (told["status"], told["results"]) == ("failed", None)
        assert set(told["error"]) == {"code", "message", "type"}
        assert told["error"]["code"] == "invalid_video_url"


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"model": "pixverse-v5"}, 422, "model"),
        ({"prompt": ""}, 422, "prompt"),
        ({"video_url": "ftp://a/b.mp4"}, 422, "video_url"),
        ({"duration": 16}, 422, "duration"),
        ({"duration": "5"}, 422, "duration"),
        ({"resolution": "480p"}, 422, "resolution"),
        ({"generate_audio": 1}, 422, "generate_audio"),
        ({"style": "noir"}, 422, "style"),
        ({"negative_prompt": None}, 422, "negative_prompt"),
        ({"seed": None}, 422, "seed"),
        ({"callback_url": "http://a/" + "x" * 2048}, 422, "callback_url"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_refused_by_name_and_so_is_null(tmp_path, changes, status, problem):
    async with in_process(tmp_path) as world:
        response = await world.aihubmax(**changes)
        error = response.json()["error"]
        assert (response.status_code, error["type"]) == (status, "validation_error")
        assert problem in error["message"]


async def test_missing_fields_wrong_keys_and_unknown_tasks_are_refused_in_the_published_shape(tmp_path):
    async with in_process(tmp_path) as world:
        missing = await world.client.post(AIHUBMAX_EXTEND, json={}, headers=USEAPI)
        stranger = await world.client.post(AIHUBMAX_EXTEND, json={}, headers={"authorization": "Bearer other"})
        unknown = await world.client.get(f"{TASKS}/task-unified-1-x", headers=USEAPI)
        found = [(answer.status_code, answer.json()["error"]["type"]) for answer in (missing, stranger, unknown)]
        assert found == [(400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found")]


async def test_a_file_can_be_uploaded_in_three_ways_and_is_kept_as_it_is(tmp_path):
    async with a_world(tmp_path) as world:
        clip = (await world.client.get(world.source_url)).content
        text = base64.b64encode(clip).decode()
        answers = [
            await world.client.post(
                f"{UPLOADS}/base64", json={"file_data": text, "file_name": "in.mp4"}, headers=USEAPI
            ),
            await world.client.post(
                f"{UPLOADS}/url", json={"url": world.source_url, "file_name": "in.mp4"}, headers=USEAPI
            ),
            await world.client.post(f"{UPLOADS}/stream", files={"file": ("in.mp4", clip)}, headers=USEAPI),
        ]
        for answer in answers:
            upload = answer.json()
            assert set(upload) == {"id", "filename", "url", "size", "created"}
            assert upload["size"] == len(clip)
            assert (await world.client.get(upload["url"])).content == clip
        task_id = (await world.aihubmax(video_url=answers[2].json()["url"])).json()["id"]
        assert (await world.finished(task_id))["state"] == "succeeded"
        assert (await world.calls("aihubmax"))["upload"] == 3
