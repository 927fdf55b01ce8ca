"""The imitation of useapi.net: its answers, its refusals and its odd progress reports."""

import json
from urllib.parse import quote

import pytest

from tests.sandbox.support import USEAPI, USEAPI_EXTEND, a_world, in_process

LIST = "/useapi/v2/pixverse/videos/"


async def test_progress_is_reported_in_order_and_queued_claims_to_be_final(tmp_path):
    async with a_world(tmp_path) as world:
        video_id = (await world.useapi()).json()["video_id"]
        await world.finished(video_id)
        await world.listener.until(4)
        items = [json.loads(body) for _, _, body in world.listener.received]

        assert [item["video_status_name"] for item in items] == ["QUEUED", "GENERATING", "GENERATING", "COMPLETED"]
        assert (items[0]["video_status"], items[0]["video_status_final"], items[0]["url"]) == (5, True, "")
        assert [item.get("progress") for item in items] == [None, 10, 60, None]
        assert (items[3]["video_status"], items[3]["video_status_final"]) == (1, True)
        assert {item["replyRef"] for item in items} == {"order-42"}
        assert {item["video_id"] for item in items} == {video_id}
        assert video_id.startswith("user:4711-pixverse:jane.doe@example.com-video:")
        assert (await world.client.get(items[3]["url"])).content[4:8] == b"ftyp"


async def test_a_video_is_not_found_while_it_is_made_and_found_afterwards(tmp_path):
    async with a_world(tmp_path, speed=45 / 2) as world:
        video_id = (await world.useapi()).json()["video_id"]
        address = LIST + quote(video_id, safe="")
        assert (await world.client.get(address, headers=USEAPI)).status_code == 404
        listed = (await world.client.get(LIST, headers=USEAPI)).json()["data"]
        assert [(item["video_id"], item["replyRef"]) for item in listed] == [(video_id, "order-42")]
        await world.finished(video_id)
        found = await world.client.get(address, headers=USEAPI)
        assert (found.status_code, found.json()["video_status_name"]) == (200, "COMPLETED")
        assert (await world.client.get(LIST, params={"offset": 1}, headers=USEAPI)).json() == {"data": []}
        assert await world.calls("useapi") == {"submit": 1, "status": 4, "upload": 1, "cancel": 0, "billed": 1}


async def test_an_earlier_result_can_be_extended_by_its_id_and_the_other_path_works(tmp_path):
    async with a_world(tmp_path) as world:
        first = (await world.useapi(replyUrl=None)).json()["video_id"]
        await world.finished(first)
        body = {"prompt": "on", "video_id": first, "duration": 8}
        second = await world.client.post(
            "/useapi/v2/pixverse/videos/extend-v4",
            files={name: (None, str(value)) for name, value in body.items()},
            headers=USEAPI,
        )
        assert second.status_code == 200, second.text
        job = await world.finished(second.json()["video_id"])
        assert (job["state"], job["callbacks"]) == ("succeeded", [])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": "x" * 2049}, "prompt is longer than 2048"),
        ({"video_path": "upload/none.mp4"}, "video_path"),
        ({"video_path": "a", "video_id": "b"}, "video_id and video_path"),
        ({"video_path": None}, "video_id and video_path"),
        ({"video_id": "user:1-pixverse:a@b.c-video:1"}, "video_id"),
        ({"duration": 6}, "duration"),
        ({"quality": "720p"}, "quality"),
        ({"motion_mode": "slow"}, "motion_mode"),
        ({"style": "comic"}, "style"),
        ({"seed": 0}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"replyUrl": "http://a/" + "x" * 1024}, "replyUrl"),
        ({"replyRef": "x" * 1025}, "replyRef"),
        ({"maxJobs": 9}, "maxJobs"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_refused_by_name(tmp_path, changes, problem):
    async with in_process(tmp_path) as world:
        response = await world.useapi(**changes)
        assert response.status_code == 400
        assert problem in response.json()["error"]


async def test_without_the_right_token_everything_is_unauthorized(tmp_path):
    async with in_process(tmp_path) as world:
        for method, path in (
            ("POST", USEAPI_EXTEND),
            ("GET", LIST),
            ("GET", LIST + "x"),
            ("POST", LIST[:-7] + "files/"),
        ):
            response = await world.client.request(method, path, headers={"authorization": "Bearer other"})
            assert (response.status_code, response.json()) == (401, {"error": "Unauthorized"})


async def test_more_jobs_than_allowed_are_refused_in_both_published_wordings(tmp_path):
    async with in_process(tmp_path) as world:
        path = await world.uploaded()
        assert (await world.useapi(video_path=path)).status_code == 200
        anyone = await world.useapi(video_path=path, maxJobs=1)
        named = await world.useapi(video_path=path, maxJobs=1, email="jane.doe@example.com")
        assert (anyone.status_code, named.status_code) == (429, 429)
        assert anyone.json() == {"error": "All configured accounts are running at maximum capacity."}
        assert named.json() == {"error": "Account jane.doe@example.com is busy executing 1 tasks."}
        assert (await world.useapi(video_path=path, maxJobs=2)).status_code == 200


async def test_forged_callbacks_go_to_a_guessed_token_to_half_of_one_and_to_another_provider(tmp_path):
    async with a_world(tmp_path) as world:
        await world.useapi(prompt="on [[fault:forged]]")
        await world.listener.until(3)
        assert [path for path, _, _ in world.listener.received] == [
            "/callbacks/useapi/abcAef",
            "/callbacks/useapi/abc",
            "/callbacks/aihubmax/abcdef",
        ]
        assert {json.loads(body)["video_status_name"] for _, _, body in world.listener.received} == {"COMPLETED"}


async def test_an_unusable_upload_is_a_failed_job(tmp_path):
    async with a_world(tmp_path) as world:
        headers = USEAPI | {"content-type": "video/mp4"}
        upload = await world.client.post("/useapi/v2/pixverse/files", content=b"no video", headers=headers)
        video_id = (await world.useapi(video_path=upload.json()["path"])).json()["video_id"]
        await world.finished(video_id)
        await world.listener.until(3)
        item = json.loads(world.listener.received[-1][2])
        assert (item["video_status_name"], item["url"]) == ("FAILED", "")
        assert item["errCode"]
