"""Wrong tokens are limited for each address: 429 instead of 401, and never for whoever has a right one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hostile.stranger import Good, Served, Stranger, a_served_receiver
from tests.hostile.wire import Reply, exchange, replies, request

LIMIT = 5


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A receiver with a low limit."""
    async with a_served_receiver(tmp_path, refusals_per_minute=LIMIT) as running:
        yield running


class TestWithoutProxies:
    async def test_beyond_the_limit_a_wrong_token_is_429_and_says_when_to_come_again(self, stranger: Stranger) -> None:
        answers = [await wrong(stranger.served) for _ in range(LIMIT + 3)]
        assert [reply.status for reply in answers] == [401] * LIMIT + [429] * 3
        for reply in answers[LIMIT:]:
            assert 1 <= int(reply.headers["retry-after"]) <= 60 / LIMIT
            assert reply.headers["content-type"].startswith("text/plain")
        stranger.hears_nothing(b"".join(reply.body for reply in answers))

    @pytest.mark.parametrize("target", ["fal", "fal/x", "pixverse/%00", "useapi/a/b"])
    async def test_every_kind_of_wrong_token_counts(self, stranger: Stranger, target: str) -> None:
        raw = request(f"/callbacks/{target}", b"{}")
        statuses = [replies(await exchange(stranger.served.port, raw))[0].status for _ in range(LIMIT + 1)]
        assert statuses == [401] * LIMIT + [429]

    async def test_a_token_of_another_provider_counts(self, stranger: Stranger) -> None:
        foreign = Good.useapi().path.replace("useapi", "aihubmax")
        for _ in range(LIMIT):
            assert (await stranger.sends(request(foreign, b"{}")))[0].status == 401
        assert (await stranger.sends(request(foreign, b"{}")))[0].status == 429

    async def test_whoever_has_a_right_token_is_never_limited(self, stranger: Stranger) -> None:
        for _ in range(LIMIT + 1):
            await wrong(stranger.served)
        assert (await wrong(stranger.served)).status == 429
        for good in (Good.fal(stranger.served), Good.pixverse(), Good.useapi()):
            assert (await good.sent_to(stranger.served)).is_ok

    async def test_a_right_token_with_a_wrong_signature_is_neither_limited_nor_counted(
        self, stranger: Stranger
    ) -> None:
        good = Good.fal(stranger.served)
        raw = good.spoilt(good.changed("x-fal-webhook-signature", b"00" * 64))
        for _ in range(3 * LIMIT):
            (reply,) = await stranger.sends(raw)
            assert reply.status == 401
        assert (await wrong(stranger.served)).status == 401

    async def test_what_a_stranger_says_of_himself_changes_nothing(self, stranger: Stranger) -> None:
        statuses = [
            (await wrong(stranger.served, forwarded=b"198.51.100.%d" % number)).status for number in range(LIMIT + 1)
        ]
        assert statuses == [401] * LIMIT + [429]

    async def test_an_unknown_provider_is_not_found_however_often(self, stranger: Stranger) -> None:
        for _ in range(2 * LIMIT):
            (reply,) = await stranger.sends(request("/callbacks/nobody/x", b"{}"))
            assert reply.status == 404


class TestBehindATrustedProxy:
    @pytest.fixture
    async def served(self, tmp_path: Path) -> AsyncIterator[Served]:
        proxies = ("127.0.0.0/8",)
        async with a_served_receiver(tmp_path, refusals_per_minute=LIMIT, trusted_proxies=proxies) as running:
            yield running

    async def test_each_address_behind_it_has_a_limit_of_its_own(self, stranger: Stranger) -> None:
        for address in (b"198.51.100.1", b"198.51.100.2", b"[2001:db8::1]:443"):
            statuses = [(await wrong(stranger.served, forwarded=address)).status for _ in range(LIMIT + 1)]
            assert statuses == [401] * LIMIT + [429]

    async def test_what_stands_left_of_the_proxys_own_entry_changes_nothing(self, stranger: Stranger) -> None:
        statuses = [
            (await wrong(stranger.served, forwarded=b"10.0.0.%d, 198.51.100.1" % number)).status
            for number in range(LIMIT + 1)
        ]
        assert statuses == [401] * LIMIT + [429]

    async def test_a_64_of_ipv6_is_one_address(self, stranger: Stranger) -> None:
        statuses = [
            (await wrong(stranger.served, forwarded=b"2001:db8:0:1::%x" % number)).status for number in range(LIMIT + 1)
        ]
        assert statuses == [401] * LIMIT + [429]


class TestSwitchedOff:
    @pytest.fixture
    async def served(self, tmp_path: Path) -> AsyncIterator[Served]:
        async with a_served_receiver(tmp_path, refusals_per_minute=0) as running:
            yield running

    async def test_there_is_no_429(self, stranger: Stranger) -> None:
        assert {(await wrong(stranger.served)).status for _ in range(100)} == {401}


async def wrong(served: Served, *, forwarded: bytes | None = None) -> Reply:
    """What is answered to a wrong token."""
    good = Good.useapi()
    headers = [*good.headers, *([("x-forwarded-for", forwarded)] if forwarded is not None else [])]
    (reply,) = replies(await exchange(served.port, request(good.path + "x", good.body, headers)))
    return reply
