"""The push to open pages: at once, after a change, to a user only of the user's, and never to nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import Access
from replyhook_receiver.web.dashboard.changes import MAX_OPEN_EACH, Changes
from tests.receiver.support import Receiver, a_host, a_receiver, useapi_body
from tests.receiver.web.dashboard.visiting import a_visitor

EVERYBODY, ANN = Access(key_id="key"), Access(key_id="ann's", user="ann")


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        yield receiver


@pytest.fixture
async def changes(receiver: Receiver) -> AsyncIterator[Changes]:
    """As the receiver has them, only quicker; ended with it."""
    stream = Stream(receiver.app.state.store)
    changes = Changes(stream, seconds_apart=0.01)
    store = receiver.app.state.store
    store.on_change(tasks=store._on_tasks, notifications=lambda: (stream.nudge(), changes.nudge())[0])
    yield changes
    await stream.stop()


async def yes() -> bool:
    return True


async def announce(receiver: Receiver, user: str) -> None:
    job, path = await receiver.register(user=user)
    await receiver.submitted(job, f"video-{user}")
    told = useapi_body(job, "FAILED", video_id=f"video-{user}")
    assert (await receiver.client.post(path, content=told)).status_code == 200


async def test_a_page_is_told_at_once_then_once_of_many_changes_and_of_nothing_else(receiver: Receiver) -> None:
    changes = Changes(Stream(receiver.app.state.store), seconds_apart=0.01)
    async with aclosing(changes.events(EVERYBODY, yes)) as events:
        assert b"event: changed" in await anext(events)
        for _ in range(2):
            coming = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0.05)
            assert not coming.done()
            for _ in range(10):
                changes.nudge()
            assert b"event: changed" in await asyncio.wait_for(coming, 60)
        changes.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(events), 60)


async def test_a_commit_is_a_change(receiver: Receiver, changes: Changes) -> None:
    async with aclosing(changes.events(EVERYBODY, yes)) as events:
        await anext(events)
        coming = asyncio.ensure_future(anext(events))
        await announce(receiver, "ann")
        assert b"event: changed" in await asyncio.wait_for(coming, 60)


async def test_a_users_page_is_told_when_the_users_things_change_and_not_when_others_do(
    receiver: Receiver, changes: Changes
) -> None:
    async with aclosing(changes.events(ANN, yes)) as events:
        assert b"event: changed" in await anext(events)
        coming = asyncio.ensure_future(anext(events))
        await announce(receiver, "bob")
        await asyncio.sleep(0.1)
        assert not coming.done()
        await announce(receiver, "ann")
        assert b"event: changed" in await asyncio.wait_for(coming, 60)


@pytest.mark.parametrize("access", [EVERYBODY, ANN], ids=["everybody", "a user"])
async def test_a_page_that_went_away_is_forgotten(changes: Changes, access: Access) -> None:
    async with aclosing(changes.events(access, yes)) as events:
        await anext(events)
        assert changes._of_keys == {access.key_id: 1}
    assert changes._of_keys == {}
    assert not changes._open
    assert changes._stream.listeners == 0


async def test_one_key_cannot_take_every_place(receiver: Receiver) -> None:
    changes = receiver.app.state.dashboard.changes
    async with a_visitor(receiver) as visitor:
        key_id = receiver.rows("SELECT key_id FROM sessions")[0][0]
        changes._of_keys[key_id] = MAX_OPEN_EACH
        async with asyncio.timeout(60):  # one that is let in would be answered for ever
            assert (await visitor.get("/live")).status_code == 503


async def test_nobody_listens_without_a_session(receiver: Receiver) -> None:
    assert (await receiver.client.get("/live", headers={"hx-request": "true"})).status_code == 401
