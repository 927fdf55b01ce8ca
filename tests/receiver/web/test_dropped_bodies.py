"""Callbacks whose bodies were dropped: what is shown of them, and what a replay says."""

from datetime import timedelta

from replyhook_receiver.stores.retention import KeepFor
from tests.receiver.support import AUTH, NOW, Receiver, useapi_body

DAY = timedelta(days=1)


async def test_a_dropped_body_is_said_to_be_dropped_and_not_to_be_empty(receiver: Receiver) -> None:
    job, path = await receiver.register()
    body = useapi_body(job, "FAILED")
    assert (await receiver.client.post(path, content=body)).status_code == 200
    (kept,) = await receiver.callbacks(job)
    receiver.clock.move(days=31)
    store = receiver.app.state.store
    keep = KeepFor(bodies=30 * DAY, notifications=30 * DAY, history=400 * DAY)
    assert [step async for step in store.retention.prune(keep, now=NOW + 31 * DAY)]
    shown = await receiver.callback(kept["id"])
    assert (shown["body"], shown["headers"], shown["body_dropped"], shown["bytes"]) == ("", [], True, len(body))
    assert (await receiver.callbacks(job))[0]["bytes"] == len(body)
    replayed = await receiver.client.post(f"/v1/callbacks/{kept['id']}/replay", json={"what": ["parse"]}, headers=AUTH)
    assert replayed.status_code == 200, replayed.text
    assert "keep_bodies_days" in replayed.text
