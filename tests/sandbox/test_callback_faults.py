"""What goes wrong between a submit call and the end that is told, at every provider that calls back."""

import json
from datetime import datetime, timedelta

import httpx
import pytest

from tests.sandbox.support import FAL, USEAPI, a_world, links_in

CALLING_BACK = ("aihubmax", "pixverse", "fal", "useapi")


def word(provider, body):
    """How a callback says where its job stands."""
    name = {"useapi": "video_status_name"}.get(provider, "status")
    return json.loads(body)[name]


async def asked(world, provider, job_id):
    """What a status call answers."""
    if provider == "pixverse":
        return await world.pixverse_result(job_id)
    path, headers = {
        "aihubmax": (f"/aihubmax/v1/tasks/{job_id}", USEAPI),
        "fal": (f"/fal/fal-ai/pixverse/requests/{job_id}", FAL),
        "useapi": (f"/useapi/v2/pixverse/videos/{job_id}", USEAPI),
    }[provider]
    return (await world.client.get(path, headers=headers)).json()


@pytest.mark.parametrize("provider", CALLING_BACK)
async def test_a_lost_answer_is_a_closed_connection_a_bill_and_a_callback(tmp_path, provider):
    async with a_world(tmp_path) as world:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await getattr(world, provider)(prompt="[[fault:lost_answer]]")
        job = await world.the_job(callbacks=1)
        assert (job["state"], (await world.calls(provider))["billed"]) == ("succeeded", 1)
        await world.told_links()


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ("aihubmax", ["failed", "completed"]),
        ("pixverse", [8, 1]),
        ("fal", ["ERROR", "OK"]),
        ("useapi", ["COMPLETED", "GENERATING"]),
    ],
)
async def test_reordered_callbacks_end_with_what_should_have_come_before(tmp_path, provider, told):
    async with a_world(tmp_path) as world:
        await getattr(world, provider)(prompt="[[fault:reordered]]")
        await world.listener.until(5 if provider == "useapi" else 2)
        assert [word(provider, body) for _, _, body in world.listener.received][-2:] == told


async def test_a_late_callback_comes_a_quarter_of_an_hour_after_the_end(tmp_path):
    async with a_world(tmp_path, speed=3000) as world:
        await world.aihubmax(prompt="[[fault:late]]")
        job = await world.the_job(callbacks=1)
        told_at, ended_at = job["callbacks"][0]["at"], job["finished_at"]
        assert datetime.fromisoformat(told_at) - datetime.fromisoformat(ended_at) >= timedelta(seconds=900 / 3000)


@pytest.mark.parametrize(
    ("provider", "told"), [("aihubmax", "completed"), ("pixverse", 1), ("fal", "OK"), ("useapi", "COMPLETED")]
)
async def test_a_success_without_its_result_has_it_when_asked(tmp_path, provider, told):
    async with a_world(tmp_path) as world:
        await getattr(world, provider)(prompt="[[fault:no_result]]")
        job = await world.the_job(callbacks=4 if provider == "useapi" else 1)
        body = world.listener.received[-1][2]
        assert (word(provider, body), links_in(json.loads(body))) == (told, [])
        await asked(world, provider, job["id"])
        assert len(links_in(await asked(world, provider, job["id"]))) == 1
        if provider == "fal":
            assert json.loads(body)["payload"] is None
            assert json.loads(body)["payload_error"].startswith("Response payload is not JSON serializable.")


@pytest.mark.parametrize("provider", CALLING_BACK)
async def test_moderation_is_told_in_each_providers_words(tmp_path, provider):
    words = {
        "aihubmax": "content_policy_violation",
        "pixverse": '"status":7',
        "fal": "content_policy_violation",
        "useapi": "MODERATED",
    }
    async with a_world(tmp_path) as world:
        await getattr(world, provider)(prompt="[[fault:moderated]]")
        await world.the_job(callbacks=4 if provider == "useapi" else 1)
        assert words[provider] in world.listener.received[-1][2].decode()
        assert (await world.calls(provider))["billed"] == 0
