"""Genuine signatures at the wrong time, by the wrong sender, and by keys that come and go."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from tests.hostile.stranger import PIXVERSE_SECRET, Good, Served, Stranger, a_served_receiver
from tests.receiver.support import fal_body, jwks, says, says_json

SIX_HOURS = 6 * 3600


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """One for each test: clocks are moved and keys exchanged."""
    async with a_served_receiver(tmp_path) as running:
        yield running


def of_age(provider: str, age: int, stranger: Stranger) -> Good:
    return Good.fal(stranger.served, age=age) if provider == "fal" else Good.pixverse(age=age)


@pytest.mark.parametrize(
    ("provider", "ages"),
    [
        ("fal", (301, 302, 600, 3600, 86_400, 10**9)),
        ("fal", (-301, -600, -86_400)),
        ("pixverse", (SIX_HOURS + 1, 86_400, 10**9)),
        ("pixverse", (-SIX_HOURS - 1, -86_400)),
    ],
    ids=["fal-too-old", "fal-from-the-future", "pixverse-too-old", "pixverse-from-the-future"],
)
async def test_outside_the_window_it_is_not_verified(stranger: Stranger, provider: str, ages: tuple[int, ...]) -> None:
    for age in ages:
        good = of_age(provider, age, stranger)
        await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden))


@pytest.mark.parametrize(
    ("provider", "ages"),
    [("fal", (300, 299, 1, -1, -300)), ("pixverse", (402, 5 * 3600, SIX_HOURS, -60, -SIX_HOURS))],
    ids=["fal", "pixverse"],
)
async def test_inside_the_window_it_is_taken(stranger: Stranger, provider: str, ages: tuple[int, ...]) -> None:
    for age in ages:
        assert (await of_age(provider, age, stranger).sent_to(stranger.served)).is_ok


@pytest.mark.parametrize("provider", ["fal", "pixverse"])
async def test_a_replay_is_a_duplicate_inside_the_window_and_nothing_outside_it(
    stranger: Stranger, provider: str
) -> None:
    good = of_age(provider, 0, stranger)
    assert (await good.sent_to(stranger.served)).is_ok
    first = stranger.served.rows("SELECT count(*) FROM events"), stranger.served.rows("SELECT count(*) FROM tasks")
    stranger.served.clock.move(seconds=299)
    for _ in range(5):
        assert (await good.sent_to(stranger.served)).is_ok
    assert (
        stranger.served.rows("SELECT count(*) FROM events"),
        stranger.served.rows("SELECT count(*) FROM tasks"),
    ) == first
    stranger.served.clock.move(seconds=2 if provider == "fal" else SIX_HOURS)
    await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden))


async def test_one_jobs_signature_is_not_anothers_nor_one_bodys(stranger: Stranger) -> None:
    ours, theirs = Good.fal(stranger.served), Good.fal(stranger.served)
    await stranger.is_refused(theirs.spoilt(ours.headers), status=401, hides=ours.hidden)
    one, two = Good.pixverse(), Good.pixverse()
    await stranger.is_refused(two.spoilt(one.headers), status=401, hides=one.hidden)


async def test_a_signature_for_one_moment_is_not_for_another(stranger: Stranger) -> None:
    for good, name in (
        (Good.fal(stranger.served, age=500), "x-fal-webhook-timestamp"),
        (Good.pixverse(age=SIX_HOURS + 500), "webhook-timestamp"),
    ):
        fresh = str(int(stranger.served.clock().timestamp())).encode()
        await stranger.is_refused(good.spoilt(good.changed(name, fresh)), status=401, hides=(good.token, *good.hidden))


async def test_a_nonce_of_pixverse_is_part_of_what_is_signed(stranger: Stranger) -> None:
    good = Good.pixverse()
    await stranger.is_refused(good.spoilt(good.changed("webhook-nonce", b"A" * 32)), status=401, hides=good.hidden)


class TestAnotherCustomer:
    """fal signs for all its customers with the same keys."""

    @pytest.fixture
    async def served(self, tmp_path: Path) -> AsyncIterator[Served]:
        async with a_served_receiver(tmp_path, providers={"fal": {"user_ids": ("fal-user-1",)}}) as running:
            yield running

    async def test_their_signature_is_not_ours_where_ours_is_pinned(self, stranger: Stranger) -> None:
        for user in ("fal-user-2", "FAL-USER-1", "fal-user-1x", "fal-user", "1", "fal-user-1,fal-user-2"):
            good = Good.fal(stranger.served, user_id=user)
            await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden, "fal-user-1"))
        assert (await Good.fal(stranger.served).sent_to(stranger.served)).is_ok

    async def test_their_signature_under_our_name_is_not_ours(self, stranger: Stranger) -> None:
        good = Good.fal(stranger.served, user_id="fal-user-2")
        raw = good.spoilt(good.changed("x-fal-webhook-user-id", b"fal-user-1"))
        await stranger.is_refused(raw, status=401, hides=(good.token, *good.hidden))


class TestKeysThatComeAndGo:
    async def test_a_new_key_is_believed_as_soon_as_it_is_published(self, stranger: Stranger) -> None:
        served, new = stranger.served, SigningKey.generate()
        early = Good.fal(served, key=new)
        await stranger.is_refused(early.spoilt(), status=401, hides=early.hidden)
        served.fal.publish(served.fal.key, new)
        served.clock.move(seconds=31)
        assert (await Good.fal(served, key=new).sent_to(served)).is_ok
        assert (await Good.fal(served).sent_to(served)).is_ok

    async def test_a_key_that_was_taken_off_is_not_believed_after_the_next_fetch(self, stranger: Stranger) -> None:
        served, old, new = stranger.served, stranger.served.fal.key, SigningKey.generate()
        served.fal.publish(new)
        served.clock.move(seconds=31)
        assert (await Good.fal(served, key=old).sent_to(served)).is_ok  # a known key waits for no fetch
        assert (await Good.fal(served, key=new).sent_to(served)).is_ok
        gone = Good.fal(served, key=old)
        await stranger.is_refused(gone.spoilt(), status=401, hides=gone.hidden)

    @pytest.mark.parametrize("answer", ["500", "garbage", "empty-set", "someone-elses"])
    async def test_while_the_keys_cannot_be_had_the_known_one_serves_and_an_unknown_one_is_never_believed(
        self, stranger: Stranger, answer: str
    ) -> None:
        served, host, stranger_key = stranger.served, stranger.served.fal.host, SigningKey.generate()
        answers = {"500": says(500), "garbage": says(200, b"<html>"), "empty-set": says_json({"keys": []})}
        host.will(served.fal.PATH, answers.get(answer, says_json(jwks(SigningKey.generate(), served.fal.key))))
        served.clock.move(seconds=31)
        forged = Good.fal(served, key=stranger_key)
        status = 401 if answer == "someone-elses" else 503
        (reply,) = await stranger.is_refused(forged.spoilt(), status=status, hides=forged.hidden)
        assert status == 401 or int(reply.headers["retry-after"]) > 0
        assert (await Good.fal(served).sent_to(served)).is_ok

    async def test_pixverses_older_secret_is_good_while_it_is_listed(self, tmp_path: Path, stranger: Stranger) -> None:
        providers = {"pixverse": {"webhook_id": "1", "webhook_secrets": ["newer-geheim-0123456789", PIXVERSE_SECRET]}}
        other = Good.pixverse(secret="oldest-geheim-0123456789")
        await stranger.is_refused(other.spoilt(), status=401, hides=(*other.hidden, "oldest-geheim"))
        async with a_served_receiver(tmp_path / "second", providers=providers) as second:
            assert (await Good.pixverse().sent_to(second)).is_ok
            assert (await Good.pixverse(secret="newer-geheim-0123456789").sent_to(second)).is_ok
            assert (await other.sent_to(second)).status == 401


async def test_fals_body_about_another_request_than_the_signed_one_is_not_verified(stranger: Stranger) -> None:
    good = Good.fal(stranger.served, request_id="signed-one", body=fal_body("another-one"))
    await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden))
