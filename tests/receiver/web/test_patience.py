"""Patience: one timer for all who wait."""

import asyncio

import pytest

from replyhook_receiver.web.patience import Patience


async def waits(patience: Patience, seconds: float) -> str:
    with patience:
        await asyncio.sleep(seconds)
    return "in time"


async def test_who_is_in_time_notices_nothing_and_who_is_late_gets_a_timeout() -> None:
    patience = Patience(0.2)
    found = await asyncio.gather(*(waits(patience, seconds) for seconds in (0, 5, 0.01, 5)), return_exceptions=True)
    assert [found[0], found[2]] == ["in time", "in time"]
    assert [type(found[1]), type(found[3])] == [TimeoutError, TimeoutError]


async def test_each_has_the_whole_time_however_many_began_before() -> None:
    patience = Patience(0.4)
    early = asyncio.create_task(waits(patience, 5))
    await asyncio.sleep(0.2)
    later = asyncio.create_task(waits(patience, 0.3))  # ends after the first one's time, within its own
    with pytest.raises(TimeoutError):
        await early
    assert await later == "in time"


async def test_a_task_that_somebody_else_cancels_is_cancelled_and_not_late() -> None:
    task = asyncio.create_task(waits(Patience(5), 5))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_was_late_once_can_wait_again() -> None:
    patience = Patience(0.1)
    with pytest.raises(TimeoutError):
        await waits(patience, 5)
    assert await waits(patience, 0.01) == "in time"
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
