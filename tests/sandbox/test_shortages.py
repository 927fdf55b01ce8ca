"""Credits run out and too many jobs are refused, in each provider's own words."""

import pytest

from replyhook_receiver.sandbox import SandboxOptions
from tests.sandbox.support import a_world


async def submit(world, provider):
    path = {"path": "/segmind/v2/pixverse-5-extend"} if provider == "segmind" else {}
    answer = await getattr(world, provider)(**path)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("provider", "status", "text"),
    [
        ("aihubmax", 402, "insufficient_quota"),
        ("pixverse", 200, "500090"),
        ("fal", 403, "Exhausted balance"),
        ("segmind", 406, "Insufficient Credits"),
        ("useapi", 412, "All Credits have been used up"),
    ],
)
async def test_after_so_many_billed_jobs_there_are_no_credits_left(tmp_path, provider, status, text):
    async with a_world(tmp_path, credits=1) as world:
        assert (await submit(world, provider))[0] == 200
        while_it_is_made = await submit(world, provider)
        await world.the_job()
        afterwards = await submit(world, provider)
        assert while_it_is_made[0] == afterwards[0] == status
        assert text in while_it_is_made[1]
        assert (await world.calls(provider))["billed"] == 1


@pytest.mark.parametrize(
    ("provider", "status", "text"),
    [
        ("aihubmax", 429, "rate_limit_error"),
        ("pixverse", 200, "500044"),
        ("segmind", 429, "Rate Limited"),
        ("useapi", 429, "Reached the limit for concurrent generations."),
    ],
)
async def test_more_than_so_many_at_once_are_refused_until_one_has_ended(tmp_path, provider, status, text):
    async with a_world(tmp_path, max_concurrent=1, speed=45 / 2) as world:
        assert (await submit(world, provider))[0] == 200
        refused = await submit(world, provider)
        assert (refused[0], text in refused[1]) == (status, True)
        await world.the_job()
        assert text not in (await submit(world, provider))[1]


async def test_at_fal_too_many_wait_in_the_queue(tmp_path):
    async with a_world(tmp_path, max_concurrent=1, speed=45 / 1.5) as world:
        first, second = (await world.fal()).json()["request_id"], (await world.fal()).json()["request_id"]
        await world.finished(first)
        assert (await world.job(second))["state"] in ("queued", "running")
        assert (await world.finished(second))["state"] == "succeeded"


@pytest.mark.parametrize("wrong", [{"max_concurrent": 0}, {"slow_bytes_per_second": 0}])
def test_impossible_options_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SandboxOptions(base_url="http://a", work_dir=tmp_path, **wrong)
