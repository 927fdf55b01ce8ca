"""The imitation of Segmind: the call that blocks, the one that does not, and the rules of its parameters."""

import base64

import anyio
import httpx
import pytest

from tests.sandbox.support import SEGMIND, SEGMIND_EXTEND, a_world, in_process, received_of

SUBMIT = "/segmind/v2/pixverse-5-extend"


async def test_a_blocking_call_answers_with_the_video_itself(tmp_path):
    async with a_world(tmp_path) as world:
        answer = await world.segmind()
        assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
        assert len(answer.content) == int(answer.headers["content-length"])
        assert answer.content[4:8] == b"ftyp"
        assert await world.calls("segmind") == {"submit": 1, "status": 0, "upload": 0, "cancel": 0, "billed": 1}


async def test_a_blocking_call_answers_with_a_link_if_asked(tmp_path):
    async with a_world(tmp_path) as world:
        answer = await world.segmind(prompt="on [[json]]")
        assert (await world.client.get(answer.json()["video"]["url"])).content[4:8] == b"ftyp"
    async with a_world(tmp_path, segmind_json=True) as world:
        assert set((await world.segmind()).json()) == {"video"}


async def test_a_caller_that_hangs_up_has_paid_all_the_same_and_is_not_waited_for(tmp_path):
    async with a_world(tmp_path, speed=45 / 1.5) as world:
        with anyio.move_on_after(0.2):
            await world.segmind()
        await world.the_job()
        assert (await world.calls("segmind"))["billed"] == 1
        with anyio.move_on_after(0.2):
            await world.segmind(prompt="[[fault:never]]")
        # The sandbox closes although that job never ends.


async def test_an_asynchronous_job_is_asked_for_and_forgotten_after_an_hour(tmp_path):
    async with a_world(tmp_path, speed=3600 / 4, generation_seconds=1000) as world:
        accepted = (await world.segmind(path=SUBMIT)).json()
        assert set(accepted) == {"request_id", "status", "poll_url", "status_url", "response_url"}
        assert accepted["status"] == "QUEUED"
        early = (await world.client.get(accepted["response_url"], headers=SEGMIND)).json()
        assert early["status"] in ("QUEUED", "PROCESSING")
        await world.finished(accepted["request_id"])
        status = await world.client.get(accepted["status_url"], headers=SEGMIND)
        result = await world.client.get(accepted["response_url"], headers=SEGMIND)
        assert (status.status_code, status.json()["status"]) == (200, "COMPLETED")
        assert set(result.json()) == {"request_id", "status", "metrics", "output", "video"}
        assert result.json()["output"] == result.json()["video"]["url"]
        await anyio.sleep(4.1)
        assert (await world.client.get(accepted["status_url"], headers=SEGMIND)).status_code == 404


@pytest.mark.parametrize("fault", ["no_result", "expired_link"])
async def test_a_result_that_is_asked_for_again_is_good(tmp_path, fault):
    async with a_world(tmp_path) as world:
        accepted = (await world.segmind(path=SUBMIT, prompt=f"[[fault:{fault}]]")).json()
        await world.finished(accepted["request_id"])
        first, second = [
            (await world.client.get(accepted["response_url"], headers=SEGMIND)).json()["output"] for _ in range(2)
        ]
        assert first is None or (await world.client.get(first)).status_code == 403
        assert (await world.client.get(second)).content[4:8] == b"ftyp"


async def test_a_failed_job_is_told_under_422_on_both_calls_and_as_an_error_by_the_blocking_one(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.segmind(path=SUBMIT, prompt="[[fault:failed]]")).json()
        await world.finished(accepted["request_id"])
        for url in (accepted["status_url"], accepted["response_url"]):
            answer = await world.client.get(url, headers=SEGMIND)
            assert (answer.status_code, answer.json()["status"]) == (422, "FAILED")
            assert answer.json()["error"]
        assert (await world.segmind(prompt="[[fault:failed]]")).status_code == 500
        unreachable = await world.segmind(video_url=f"{world.base_url}/nothing.mp4")
        assert (unreachable.status_code, set(unreachable.json())) == (400, {"error"})


async def test_a_lost_answer_closes_the_connection_and_a_cut_off_one_does_so_in_the_middle(tmp_path):
    async with a_world(tmp_path) as world:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await world.segmind(prompt="[[fault:lost_answer]]")
        request = {"json": {"prompt": "[[fault:cut_off]]", "duration": 5, "quality": "360p", "motion_mode": "normal"}}
        request["json"]["video_url"] = world.source_url
        async with world.client.stream("POST", SEGMIND_EXTEND, headers=SEGMIND, **request) as answer:
            received, is_whole = await received_of(answer)
        assert not is_whole
        assert len(received) == int(answer.headers["content-length"]) // 2
        assert (await world.calls("segmind"))["billed"] == 2


@pytest.mark.parametrize(
    ("fault", "kind", "begins"),
    [
        ("garbage", "application/json", b'{"video"'),
        ("html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("truncated", "video/mp4", b"\0\0"),
        ("no_result", "video/mp4", b""),
        ("late", "video/mp4", b"\0\0"),
    ],
)
async def test_a_blocking_call_misbehaves_in_its_answer(tmp_path, fault, kind, begins):
    async with a_world(tmp_path, speed=5000.0) as world:
        answer = await world.segmind(prompt=f"[[fault:{fault}]]")
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.content.startswith(begins)


async def test_faults_of_callbacks_and_of_links_that_there_are_not_are_refused(tmp_path):
    async with in_process(tmp_path) as world:
        for fault in ("duplicate", "reordered", "early", "forged", "expired_link", "foreign_host"):
            answer = await world.segmind(prompt=f"[[fault:{fault}]]")
            assert answer.status_code == 400
            assert f"{fault!r} makes no sense" in answer.json()["error"]
            assert "lost_answer" in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"video_url": None}, "video_url is required"),
        ({"duration": 6}, "duration"),
        ({"duration": 8, "quality": "1080p"}, "duration must be 5"),
        ({"duration": 8, "motion_mode": "fast"}, "duration must be 5"),
        ({"quality": "1080p", "motion_mode": "fast"}, "motion_mode fast"),
        ({"quality": "480p"}, "quality"),
        ({"seed": 1_000_000}, "seed"),
        ({"style": "anime"}, "v3.5"),
    ],
    ids=str,
)
async def test_a_wrong_parameter_is_refused_by_name(tmp_path, changes, problem):
    async with in_process(tmp_path) as world:
        answer = await world.segmind(**changes)
        assert answer.status_code == 400
        assert problem in answer.json()["error"]


async def test_an_asset_can_be_uploaded_and_a_wrong_key_can_do_nothing(tmp_path):
    async with a_world(tmp_path) as world:
        clip = (await world.client.get(world.source_url)).content
        data_url = f"data:video/mp4;base64,{base64.b64encode(clip).decode()}"
        answer = await world.client.post("/segmind/upload-asset", json={"data_urls": [data_url]}, headers=SEGMIND)
        (url,) = answer.json()["file_urls"]
        assert (await world.client.get(url)).content == clip
        for path in (SEGMIND_EXTEND, SUBMIT, "/segmind/upload-asset"):
            assert (await world.client.post(path, json={}, headers={"x-api-key": "other"})).status_code == 401
        broken = await world.client.post("/segmind/upload-asset", json={"data_urls": ["x"]}, headers=SEGMIND)
        assert broken.status_code == 400
