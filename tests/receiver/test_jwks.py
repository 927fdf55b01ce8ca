"""A provider's public keys: who waits for a fetch, how often there is one, what serves meanwhile."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from nacl.signing import SigningKey

from replyhook.errors import KeysUnavailable, UnreadableMessage
from replyhook_receiver.jwks import KeySet, read_jwks
from replyhook_receiver.net import Door
from tests.receiver.support import (
    LOOPBACK,
    Answer,
    Clock,
    Host,
    Receiver,
    drips,
    fal_body,
    jwks,
    says,
    says_json,
    until,
    waits,
)

PATH = "/jwks.json"
OLD, NEW = SigningKey.generate(), SigningKey.generate()


def key_of(key: SigningKey) -> bytes:
    return bytes(key.verify_key)


def publishes(*keys: SigningKey) -> Answer:
    return says_json(jwks(*keys))


BROKEN = says(500, b"no")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(host: Host, clock: Clock) -> AsyncIterator[KeySet]:
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        key_set = KeySet(host.will(PATH, publishes(OLD)), door=door, now=clock, monotonic=clock.monotonic)
        yield key_set
        await key_set.close()


async def test_cold_there_are_no_keys_until_one_fetch_brought_them(keys: KeySet, host: Host) -> None:
    assert keys.current() == ()
    assert host.asked(PATH) == 0
    assert await keys.refetched() == (key_of(OLD),)
    assert keys.current() == (key_of(OLD),)
    assert host.asked(PATH) == 1


async def test_keys_at_hand_are_given_without_a_fetch(keys: KeySet, host: Host, clock: Clock) -> None:
    await keys.refetched()
    clock.move(hours=11)
    for _ in range(100):
        assert keys.current() == (key_of(OLD),)
    await asyncio.sleep(0.05)
    assert host.asked(PATH) == 1


async def test_a_hundred_who_wait_share_one_fetch(keys: KeySet, host: Host) -> None:
    host.will(PATH, waits(0.1, publishes(OLD)))
    found = await asyncio.gather(*(keys.refetched() for _ in range(100)))
    assert set(found) == {(key_of(OLD),)}
    assert host.asked(PATH) == 1


async def test_forged_callbacks_cannot_make_us_hammer_the_provider(keys: KeySet, host: Host, clock: Clock) -> None:
    await keys.refetched()
    for _ in range(29):
        clock.move(seconds=1)
        assert await keys.refetched() == (key_of(OLD),)
    assert host.asked(PATH) == 1
    clock.move(seconds=2)
    await keys.refetched()
    assert host.asked(PATH) == 2


@pytest.mark.parametrize("hours", [-1, -30, 30])
async def test_a_clock_that_is_set_anew_neither_freezes_refetches_nor_hastens_them(
    host: Host, clock: Clock, hours: float
) -> None:
    elapsed = 0.0
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        keys = KeySet(host.will(PATH, publishes(OLD)), door=door, now=clock, monotonic=lambda: elapsed)
        await keys.refetched()
        clock.move(hours=hours)
        elapsed += 29
        assert await keys.refetched() == (key_of(OLD),)
        assert host.asked(PATH) == 1
        host.will(PATH, publishes(NEW))
        elapsed += 2
        assert await keys.refetched() == (key_of(NEW),)


async def test_keys_from_before_the_clock_was_set_back_a_day_are_refreshed_as_old_ones_are(
    keys: KeySet, host: Host, clock: Clock
) -> None:
    await keys.refetched()
    clock.move(seconds=31)
    clock.move(days=-1)
    host.will(PATH, publishes(NEW))
    assert keys.current() == (key_of(OLD),)
    await until(lambda: keys.current() == (key_of(NEW),))


async def test_an_unknown_key_is_nobodys_fault_but_ours_while_a_refetch_has_just_failed(
    keys: KeySet, host: Host, clock: Clock
) -> None:
    """Not the forger's 401: it may be the provider's new key, and its retry must find us open."""
    await keys.refetched()
    host.will(PATH, BROKEN)
    clock.move(minutes=1)
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            await keys.refetched()
        clock.move(seconds=0.9)
        assert keys.current() == (key_of(OLD),)
    assert host.asked(PATH) == 2
    host.will(PATH, publishes(OLD, NEW))
    clock.move(seconds=1)
    assert await keys.refetched() == (key_of(OLD), key_of(NEW))


async def test_a_forger_who_never_rests_costs_a_fetch_every_cool_down_and_delays_a_rotation_by_one_at_most(
    keys: KeySet, host: Host, clock: Clock
) -> None:
    await keys.refetched()
    host.will(PATH, publishes(NEW))
    for _ in range(31):
        clock.move(seconds=1)
        await keys.refetched()
    assert keys.current() == (key_of(NEW),)
    for _ in range(600):
        clock.move(seconds=1)
        await keys.refetched()
    assert host.asked(PATH) <= 2 + 600 / 30


async def test_a_rotated_key_is_found_by_whoever_misses_it(keys: KeySet, host: Host, clock: Clock) -> None:
    await keys.refetched()
    clock.move(minutes=5)
    host.will(PATH, waits(0.05, publishes(OLD, NEW)))
    waiting = asyncio.create_task(keys.refetched())
    await until(lambda: host.asked(PATH) == 2)
    assert keys.current() == (key_of(OLD),), "callbacks with a known key do not wait meanwhile"
    assert await waiting == (key_of(OLD), key_of(NEW))


async def test_old_keys_are_refreshed_behind_the_scenes(keys: KeySet, host: Host, clock: Clock) -> None:
    await keys.refetched()
    clock.move(hours=13)
    host.will(PATH, publishes(NEW))
    assert keys.current() == (key_of(OLD),)
    await until(lambda: keys.current() == (key_of(NEW),))
    assert host.asked(PATH) == 2


async def test_old_keys_go_on_serving_while_a_refetch_fails(keys: KeySet, host: Host, clock: Clock) -> None:
    await keys.refetched()
    host.will(PATH, BROKEN)
    clock.move(hours=30)
    keys.current()
    await until(lambda: host.asked(PATH) == 2)
    await asyncio.sleep(0.05)
    assert keys.current() == (key_of(OLD),)
    with pytest.raises(KeysUnavailable):
        await keys.refetched()
    assert keys.current() == (key_of(OLD),)
    assert host.asked(PATH) == 2, "the failure is remembered for a moment"
    host.will(PATH, publishes(NEW))
    clock.move(seconds=6)
    assert await keys.refetched() == (key_of(NEW),)


async def test_cold_and_broken_is_our_own_trouble_until_it_recovers(keys: KeySet, host: Host, clock: Clock) -> None:
    host.will(PATH, BROKEN)
    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await keys.refetched()
    assert host.asked(PATH) == 1
    host.will(PATH, publishes(NEW))
    clock.move(seconds=6)
    assert await keys.refetched() == (key_of(NEW),)


async def test_a_waiter_that_goes_away_does_not_take_the_fetch_with_it(keys: KeySet, host: Host) -> None:
    host.will(PATH, waits(0.05, publishes(OLD)))
    leaving, staying = (asyncio.create_task(keys.refetched()) for _ in range(2))
    await until(lambda: host.asked(PATH) == 1)
    leaving.cancel()
    assert await staying == (key_of(OLD),)
    assert host.asked(PATH) == 1


@pytest.mark.parametrize("slow", [waits(60, publishes(OLD)), drips(0.2)], ids=["silent", "drips"])
async def test_nobody_waits_longer_than_three_seconds(keys: KeySet, host: Host, slow: Answer) -> None:
    host.will(PATH, slow)
    async with asyncio.timeout(3.5):
        with pytest.raises(KeysUnavailable):
            await keys.refetched()


@pytest.mark.parametrize(
    "answer",
    [
        says(404), says(302, location="https://127.0.0.1/"), says(200, b""), says(200, b"<html>"), says(200, b"[]"),
        says(200, b"{}"), says(200, b'{"keys": {}}'), says(200, b"[" * 100_000), says(200, b"x" * 2_000_000),
        says_json({"keys": []}), says_json({"keys": [None, 1, "x", [], {}]}),
        says_json({"keys": [{"x": 1}, {"x": ""}, {"x": "é"}, {"x": "AAAA"}]}),
        says_json({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}), says(200, b"\xff\xfe"),
    ],
)  # fmt: skip
async def test_garbage_is_no_key_set(keys: KeySet, host: Host, answer: Answer) -> None:
    host.will(PATH, answer)
    with pytest.raises(KeysUnavailable):
        await keys.refetched()
    assert keys.current() == ()


async def test_a_key_server_that_is_not_there_is_our_own_trouble(clock: Clock) -> None:
    async with Door() as door:
        for url in ("http://127.0.0.1:9/jwks.json", "https://10.0.0.1/jwks.json", "https://["):
            with pytest.raises(KeysUnavailable):
                await KeySet(url, door=door, now=clock).refetched()


async def test_closing_ends_a_fetch_under_way_and_those_who_wait_are_to_come_again(keys: KeySet, host: Host) -> None:
    host.will(PATH, waits(60, publishes(OLD)))
    waiting = [asyncio.create_task(keys.refetched()) for _ in range(3)]
    await until(lambda: host.asked(PATH) == 1)
    await keys.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [KeysUnavailable] * 3


async def test_a_fault_of_our_own_in_a_fetch_is_our_own_trouble_and_not_the_callbacks(host: Host, clock: Clock) -> None:
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        keys = KeySet(host.will(PATH, publishes(OLD)), door=door, now=clock, monotonic=clock.monotonic)
    for _ in range(3):  # the door is closed: nothing that a door in use ever raises
        with pytest.raises(KeysUnavailable):
            await keys.refetched()


async def send(receiver: Receiver, path: str, key: SigningKey) -> int:
    """What a callback signed with ``key`` is answered."""
    body = fal_body("r-1", "IN_PROGRESS")
    headers = receiver.fal.headers(body, request_id="r-1", key=key)
    return (await receiver.client.post(path, content=body, headers=headers)).status_code


async def test_a_callback_with_a_known_key_is_answered_while_the_key_server_hangs(
    receiver: Receiver, host: Host
) -> None:
    _, path = await receiver.register("fal")
    assert await send(receiver, path, receiver.fal.key) == 200
    host.will(receiver.fal.PATH, waits(60, publishes(NEW)))
    receiver.clock.move(hours=13)
    forged = asyncio.create_task(send(receiver, path, SigningKey.generate()))
    await until(lambda: host.asked(receiver.fal.PATH) == 2)
    assert [await send(receiver, path, receiver.fal.key) for _ in range(20)] == [200] * 20
    assert not forged.done()
    assert await forged == 503


async def test_keys_that_are_rotated_under_load_lose_no_honest_callback(receiver: Receiver, host: Host) -> None:
    """Three of six rotations meet a key server that fails at first; forged callbacks come all the while."""
    _, path = await receiver.register("fal")
    keys = [receiver.fal.key]
    believed, told, forged = Counter[SigningKey](), Counter[int](), Counter[int]()
    is_over = asyncio.Event()

    async def honest() -> None:
        while not is_over.is_set():
            key, status = keys[-1], 503
            while status == 503:
                status = await send(receiver, path, key)
                told[status] += 1
                await asyncio.sleep(0.01)
            believed[key] += 1

    async def forger() -> None:
        while not is_over.is_set():
            forged[await send(receiver, path, SigningKey.generate())] += 1
            await asyncio.sleep(0.01)

    async def provider() -> None:
        for number in range(6):
            fresh, before = SigningKey.generate(), told[503]
            published = waits(0.05, publishes(*keys[-2:], fresh))
            host.will(receiver.fal.PATH, *([BROKEN, published] if number % 2 else [published]))
            keys.append(fresh)
            receiver.clock.move(seconds=31)
            if number % 2:
                await until(lambda before=before: told[503] > before)  # type: ignore[misc] # bound in the loop
                receiver.clock.move(seconds=6)
            await until(lambda fresh=fresh: believed[fresh] > 10)  # type: ignore[misc]
        is_over.set()

    assert await send(receiver, path, keys[0]) == 200
    await asyncio.gather(provider(), forger(), *(honest() for _ in range(8)))
    assert set(told) == {200, 503}
    assert 401 in forged
    assert 200 not in forged
    assert host.asked(receiver.fal.PATH) <= 1 + 3 + 2 * 3


def test_keys_are_read_with_and_without_padding_and_the_rest_is_passed_over() -> None:
    unpadded = jwks(OLD, NEW)["keys"]
    padded = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(key_of(OLD)).decode()}
    bare = {"x": unpadded[1]["x"]}
    others = [{"kty": "RSA", "x": unpadded[0]["x"]}, {"kty": "OKP", "crv": "X25519", "x": unpadded[0]["x"]}, None]
    assert read_jwks({"keys": [*others, *unpadded]}) == (key_of(OLD), key_of(NEW))
    assert read_jwks({"keys": [padded, bare]}) == (key_of(OLD), key_of(NEW))


def test_a_key_set_without_end_is_cut_short() -> None:
    assert len(read_jwks({"keys": jwks(OLD)["keys"] * 1000})) == 32
    with pytest.raises(UnreadableMessage):
        read_jwks({"keys": []})
