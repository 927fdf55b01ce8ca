"""The overview is read once for all who look at the same time, and shows what was there before they looked."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.stores.sql.overview import SQLOverview
from replyhook_receiver.web.dashboard.glances import Glances
from tests.receiver.support import Receiver

Readings = list[str | None]


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """Of whom the store was read, each a moment's work."""
    read, found = SQLOverview.lately, []

    async def counted(overview: SQLOverview, *, user: str | None, now: datetime) -> Any:
        found.append(user)
        await asyncio.sleep(0.01)
        return await read(overview, user=user, now=now)

    monkeypatch.setattr(SQLOverview, "lately", counted)
    return found


@pytest.fixture
def glances(receiver: Receiver) -> Glances:
    return Glances(receiver.app.state.store, now=lambda: datetime.now(UTC))


async def test_many_who_look_at_once_share_a_reading_and_users_have_their_own(
    glances: Glances, readings: Readings
) -> None:
    found = await asyncio.gather(*(glances.lately(user) for user in (None, None, "u_1", None, "u_1")))
    assert readings == [None, "u_1"]
    assert found[0] is found[1] is found[3]
    assert found[2] is found[4] is not found[0]


async def test_who_looks_while_a_reading_is_under_way_sees_what_has_come_meanwhile(
    receiver: Receiver, glances: Glances, readings: Readings
) -> None:
    first = asyncio.create_task(glances.lately(None))
    while not readings:
        await asyncio.sleep(0)
    await receiver.register()
    later = await asyncio.gather(*(glances.lately(None) for _ in range(5)))
    assert {each.jobs for each in later} == {1}
    assert readings == [None, None]
    await first


async def test_who_goes_away_takes_nobody_elses_reading_along_and_trouble_is_told(
    receiver: Receiver, glances: Glances
) -> None:
    goes, stays = (asyncio.create_task(glances.lately(None)) for _ in range(2))
    await asyncio.sleep(0)
    goes.cancel()
    assert (await stays).jobs == 0
    await receiver.app.state.store.close()
    with pytest.raises(StoreUnavailable):
        await glances.lately(None)
