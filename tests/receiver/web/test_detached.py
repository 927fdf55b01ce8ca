"""Callbacks of detached clients' jobs: taken only where they are allowed, counted, and each for its own user."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook.tokens import ReplyKeys
from replyhook_receiver.web.app import create_app
from tests.receiver.support import (
    API_KEY,
    NOW,
    SECRETS,
    Clock,
    Host,
    Receiver,
    a_host,
    a_receiver,
    settings_for,
    useapi_body,
)

MINE, THEIRS = "u_7:detached-0123456789-0123456789", "u_8:detached-9876543210-9876543210"


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with a_host() as running:
        yield running


def path_of(job_id: str, key: str = MINE, reference: str | None = "order-42", at: Any = NOW) -> str:
    return f"/callbacks/useapi/{ReplyKeys([key]).mint(provider='useapi', job_id=job_id, reference=reference, now=at)}"


async def tell(receiver: Receiver, job_id: str, key: str = MINE, percent: int = 10, **more: Any) -> int:
    body = useapi_body(job_id, progress=percent, video_id=f"v-{job_id}")
    response = await receiver.client.post(path_of(job_id, key, **more), content=body)
    return response.status_code


ALLOWED: dict[str, Any] = {"reply_keys": f"{MINE},{THEIRS}", "allow_detached": True}


async def test_a_detached_job_appears_with_its_user_and_reference(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, **ALLOWED) as receiver:
        mine, theirs = new_id("job"), new_id("job")
        assert await tell(receiver, mine) == 200
        assert await tell(receiver, theirs, THEIRS, reference=None) == 200
        shown = [await receiver.job(job_id) for job_id in (mine, theirs)]
        assert [(job["user"], job["reference"]) for job in shown] == [("u_7", "order-42"), ("u_8", None)]
        assert [job["status"] for job in shown] == ["running", "running"]
        assert await tell(receiver, mine, percent=20) == 200
        assert (await receiver.job(mine))["progress"] == 20


@pytest.mark.parametrize("settings", [{}, {"reply_keys": MINE}, {"reply_keys": THEIRS, "allow_detached": True}])
async def test_a_detached_token_is_nothing_where_it_is_not_allowed(
    tmp_path: Path, host: Host, settings: dict[str, Any]
) -> None:
    async with a_receiver(tmp_path, host, **settings) as receiver:
        assert await tell(receiver, new_id("job")) == 401
        assert not await receiver.callbacks()
        registered, path = await receiver.register()
        assert (await receiver.client.post(path, content=useapi_body(registered))).status_code == 200


async def test_more_detached_jobs_in_a_day_than_allowed_are_put_off_and_harm_nobody_else(
    tmp_path: Path, host: Host
) -> None:
    clock = Clock()
    async with a_receiver(tmp_path, host, clock=clock, max_detached_jobs=2, **ALLOWED) as receiver:
        for _ in range(2):
            await receiver.register(user="u_7")  # these are not detached, and do not count
        first, late = new_id("job"), new_id("job")
        assert [await tell(receiver, job) for job in (first, new_id("job"))] == [200, 200]
        response = await receiver.client.post(path_of(late), content=useapi_body(late, video_id="v"))
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert (await receiver.refusals())["useapi"] == {"2 detached jobs of one user have appeared within a day": 1}
        assert await tell(receiver, first, percent=50) == 200  # what is known goes on
        assert await tell(receiver, new_id("job"), THEIRS) == 200
        registered, path = await receiver.register(user="u_7")
        assert (await receiver.client.post(path, content=useapi_body(registered, video_id="w"))).status_code == 200
        clock.move(hours=24, seconds=1)
        assert await tell(receiver, late) == 200


async def test_a_reply_key_cannot_tell_of_another_users_job(tmp_path: Path, host: Host) -> None:
    async with a_receiver(tmp_path, host, **ALLOWED) as receiver:
        theirs = new_id("job")
        assert await tell(receiver, theirs, THEIRS) == 200
        registered, _ = await receiver.register(user="u_8")
        for job_id in (theirs, registered):
            assert await tell(receiver, job_id, percent=90) == 401
            assert (await receiver.job(job_id))["progress"] != 90


async def test_an_old_detached_token_makes_no_job(tmp_path: Path, host: Host) -> None:
    clock = Clock()
    async with a_receiver(tmp_path, host, clock=clock, **ALLOWED) as receiver:
        known, unknown = new_id("job"), new_id("job")
        assert await tell(receiver, known) == 200
        clock.move(days=31)
        assert await tell(receiver, unknown) == 401
        assert await tell(receiver, known, percent=20) == 200


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"allow_detached": True}, "REPLYHOOK_REPLY_KEYS"),
        ({"allow_detached": True, "reply_keys": f"u_7:{API_KEY}", "api_keys": API_KEY}, "nothing else"),
        ({"allow_detached": True, "reply_keys": f"u_7:{API_KEY}", "signing_keys": API_KEY}, "nothing else"),
    ],
)
def test_a_key_ring_that_is_missing_or_used_for_something_else_is_refused(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        create_app(settings_for(tmp_path, **settings), secrets=SECRETS)
