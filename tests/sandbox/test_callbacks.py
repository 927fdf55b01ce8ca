"""Callbacks are retried along the ladder, signed anew each time, until they count as delivered."""

from dataclasses import replace
from itertools import count

from replyhook_receiver.sandbox.callbacks import Attempt, Delivery, Envelope, Message, deliver
from replyhook_receiver.sandbox.fal import Fal
from replyhook_receiver.sandbox.outbound import Outbound
from tests.sandbox.support import a_world


async def test_a_listener_that_refuses_twice_gets_the_third_attempt(tmp_path):
    async with a_world(tmp_path, statuses=[500, 404], speed=100.0) as world:
        accepted = (await world.fal()).json()
        job = await world.finished(accepted["request_id"], callbacks=3)
        assert [attempt["status"] for attempt in job["callbacks"]] == [500, 404, 200]
        assert job["callbacks"][0]["answer"] == "no"
        assert len({body for _, _, body in world.listener.received}) == 1


async def test_every_attempt_is_sealed_anew_and_the_ladder_ends():
    rules = Delivery(ladder=(5.0, 10.0), timeout_seconds=1.0)
    number, attempts = count(), list[Attempt]()
    sealed = list[Envelope]()

    def seal() -> Envelope:
        sealed.append(Envelope(url="http://127.0.0.1:9/", headers={}, body=str(next(number)).encode()))
        return sealed[-1]

    async with Outbound() as outbound:
        message = Message(kind="final", seal=seal)
        assert not await deliver(message, rules, speed=1000, outbound=outbound, record=attempts.append)
        once = replace(message, is_retried=False)
        assert not await deliver(once, rules, speed=1000, outbound=outbound, record=attempts.append)

    assert [envelope.body for envelope in sealed] == [b"0", b"1", b"2", b"3"]
    assert [attempt.status for attempt in attempts] == [None] * 4
    assert all("ConnectError" in (attempt.error or "") for attempt in attempts)


def test_fals_ladder_is_ten_retries_in_two_hours():
    assert len(Fal.delivery.ladder) == 10
    assert sum(Fal.delivery.ladder) == 7200


async def test_progress_is_told_once_even_to_a_deaf_listener(tmp_path):
    async with a_world(tmp_path, statuses=[503, 503, 503, 503]) as world:
        video_id = (await world.useapi()).json()["video_id"]
        callbacks = (await world.finished(video_id, callbacks=5))["callbacks"]
        told = [(attempt["kind"], attempt["status"]) for attempt in callbacks]
        assert told[:4] == [("progress", 503)] * 3 + [("final", 503)]
        assert [kind for kind, _ in told].count("progress") == 3
