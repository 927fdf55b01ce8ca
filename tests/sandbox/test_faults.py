"""Everything that can be asked to go wrong does so, and only when asked."""

import json

import pytest

from replyhook_receiver.sandbox import SandboxOptions, create_sandbox
from replyhook_receiver.sandbox.faults import Fault
from tests.sandbox.support import FAL_EXTEND, a_world, in_process


async def test_a_duplicate_is_delivered_twice_and_billed_once(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.fal(headers={"x-sandbox-fault": "duplicate"})).json()
        job = await world.finished(accepted["request_id"], callbacks=2)
        assert world.listener.received[0][2] == world.listener.received[1][2]
        assert [attempt["kind"] for attempt in job["callbacks"]] == ["final", "duplicate"]
        assert [attempt["status"] for attempt in job["callbacks"]] == [200, 200]
        assert job["callbacks"][0]["answer"] == "ok"
        assert (await world.calls("fal"))["billed"] == 1


async def test_an_early_callback_comes_before_the_answer_to_the_submit_call(tmp_path):
    async with a_world(tmp_path, speed=1.0) as world:
        accepted = (await world.fal(prompt="[[fault:early]]")).json()
        assert json.loads(world.listener.received[0][2])["request_id"] == accepted["request_id"]


@pytest.mark.parametrize("provider", ["aihubmax", "pixverse", "fal", "useapi"])
async def test_a_job_that_never_calls_back_is_still_made(tmp_path, provider):
    async with a_world(tmp_path, faults={"*": Fault.NEVER}) as world:
        await getattr(world, provider)()
        job = await world.the_job()
        assert (job["state"], job["fault"], job["callbacks"], world.listener.received) == ("succeeded", "never", [], [])


async def test_a_failed_generation_is_told_in_each_providers_way(tmp_path):
    async with a_world(tmp_path, faults={"useapi": Fault.FAILED}) as world:
        await world.fal(prompt="[[fault:failed]]")
        await world.listener.until(1)
        assert json.loads(world.listener.received[0][2])["status"] == "ERROR"
        world.listener.received.clear()
        await world.useapi()
        await world.listener.until(4)
        item = json.loads(world.listener.received[-1][2])
        assert (item["video_status_name"], item["errCode"], item["url"]) == ("FAILED", 500063, "")
        assert (await world.calls("useapi"))["billed"] == 0


async def test_garbage_takes_the_place_of_useapis_final_report(tmp_path):
    async with a_world(tmp_path) as world:
        await world.useapi(prompt="[[fault:garbage]]")
        await world.listener.until(4)
        with pytest.raises(ValueError, match=r".*"):
            json.loads(world.listener.received[-1][2])


@pytest.mark.parametrize(
    ("provider", "refusal", "status", "text"),
    [
        ("fal", "401", 401, "Key ID"),
        ("fal", "403", 403, "Exhausted balance"),
        ("fal", "422", 422, "content_policy_violation"),
        ("fal", "429", 429, "Too many requests"),
        ("fal", "500", 500, "internal_error"),
        ("aihubmax", "401", 401, "authentication_error"),
        ("aihubmax", "402", 402, "insufficient_quota"),
        ("aihubmax", "422", 422, "validation_error"),
        ("aihubmax", "429", 429, "rate_limit_error"),
        ("aihubmax", "503", 503, "service_unavailable"),
        ("pixverse", "400012", 200, "400012"),
        ("pixverse", "500044", 200, "500044"),
        ("pixverse", "500054", 200, "500054"),
        ("pixverse", "500090", 200, "500090"),
        ("pixverse", "429", 429, "429"),
        ("segmind", "401", 401, "Unauthorized"),
        ("segmind", "406", 406, "Insufficient Credits"),
        ("segmind", "429", 429, "Rate Limited"),
        ("segmind", "504", 504, "Timeout"),
        ("useapi", "401", 401, "Unauthorized"),
        ("useapi", "412", 412, "All Credits have been used up"),
        ("useapi", "422", 422, "AI moderator"),
        ("useapi", "429", 429, "Reached the limit for concurrent generations."),
        ("useapi", "596", 596, "pending error"),
    ],
)
async def test_a_refusal_asked_for_is_given_and_starts_nothing(tmp_path, provider, refusal, status, text):
    async with in_process(tmp_path) as world:
        fields = {"video_media_id": 1} if provider == "pixverse" else {}
        by_prompt = await getattr(world, provider)(prompt=f"on [[refuse:{refusal}]]", **fields)
        by_header = await getattr(world, provider)(headers={"x-sandbox-refuse": refusal}, **fields)
        assert by_prompt.status_code == by_header.status_code == status
        assert text in by_prompt.text
        assert (await world.client.get("/_sandbox/jobs")).json() == []


async def test_an_unknown_fault_is_refused_with_the_names_of_the_known_ones(tmp_path):
    async with in_process(tmp_path) as world:
        for response in (
            await world.fal(prompt="[[fault:nonsense]]"),
            await world.useapi(headers={"x-sandbox-fault": "nonsense"}),
            await world.aihubmax(prompt="[[fault:nonsense]]"),
            await world.pixverse(prompt="[[fault:nonsense]]", video_media_id=1),
            await world.segmind(prompt="[[fault:nonsense]]"),
        ):
            assert response.status_code == 400
            assert all(fault in response.text for fault in Fault)
        unreadable = await world.client.post(FAL_EXTEND, content=b"{", headers={"authorization": "Key sandbox-key"})
        assert unreadable.status_code == 422


def test_a_fault_that_a_provider_cannot_have_is_refused_by_name_and_left_out_of_a_general_one(tmp_path):
    options = {"base_url": "http://a", "work_dir": tmp_path}
    create_sandbox(SandboxOptions(**options, faults={"*": Fault.DUPLICATE}))
    for provider in ("segmind", "nobody"):
        with pytest.raises(ValueError, match=f"{provider} cannot have the fault duplicate"):
            create_sandbox(SandboxOptions(**options, faults={provider: Fault.DUPLICATE}))
