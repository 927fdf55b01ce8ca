"""The push to open pages: at once, after a commit, and no longer than somebody is signed in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from replyhook_receiver.web.dashboard.changes import MAX_OPEN_EACH, Changes
from tests.receiver.support import Receiver, a_host, a_receiver
from tests.receiver.web.dashboard.visiting import a_visitor


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        yield receiver


async def yes() -> bool:
    return True


async def test_a_page_is_told_at_once_and_then_of_each_change_but_not_of_none() -> None:
    changes = Changes(seconds_apart=0.01)
    async with aclosing(changes._events("key", yes)) as events:
        assert b"event: changed" in await anext(events)
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.05)
        assert not coming.done()
        changes.nudge()
        changes.nudge()
        assert b"event: changed" in await coming
        changes.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(_last(events), 5)


async def _last(events: AsyncIterator[bytes]) -> bytes:
    await anext(events)
    return await anext(events)


async def test_a_page_that_went_away_is_forgotten() -> None:
    changes = Changes()
    async with aclosing(changes._events("key", yes)) as events:
        await anext(events)
        assert (len(changes._open), changes._of_keys) == (1, {"key": 1})
    assert (len(changes._open), changes._of_keys) == (0, {})


async def test_one_key_cannot_take_every_place(receiver: Receiver) -> None:
    changes = receiver.app.state.dashboard.changes
    async with a_visitor(receiver) as visitor, a_visitor(receiver) as same:
        key_id = receiver.rows("SELECT DISTINCT key_id FROM sessions")[0][0]
        changes._of_keys[key_id] = MAX_OPEN_EACH
        assert (await visitor.get("/live")).status_code == 503
        assert (await same.get("/live")).status_code == 503


async def test_nobody_listens_without_a_session(receiver: Receiver) -> None:
    assert (await receiver.client.get("/live", headers={"hx-request": "true"})).status_code == 401
