"""Tokens that are genuine and not for this, tokens of other keys, and tokens with any part exchanged."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from itsdangerous.encoding import base64_decode, base64_encode

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from tests.hostile.stranger import Good, Served, Stranger, a_served_receiver
from tests.receiver.support import NOW, SIGNING_KEY, TOKENS

OTHER = TokenKeys(("another-key-0123456789-0123456789",))
PER_JOB = ("aihubmax", "fal", "useapi")


def job_token(provider: str, *, days_old: float = 0, tokens: TokenKeys = TOKENS) -> str:
    return tokens.mint(provider=provider, job_id=new_id("job"), now=NOW - timedelta(days=days_old))


def account_token(provider: str, account: str = "default", *, tokens: TokenKeys = TOKENS) -> str:
    return tokens.mint_account(provider=provider, account=account)


def sent_as(provider: str, token: str, stranger: Stranger) -> bytes:
    """All else in order, whatever the provider wants."""
    good = {"fal": lambda: Good.fal(stranger.served), "pixverse": Good.pixverse}.get(provider, Good.useapi)()
    return replace(good, path=f"/callbacks/{provider}/{token}").spoilt()


WRONG: dict[str, tuple[str, str]] = {
    **{f"an-account-token-at-{name}": (name, account_token(name)) for name in (*PER_JOB, "segmind")},
    "a-job-token-at-pixverse": ("pixverse", job_token("pixverse")),
    **{
        f"a-job-token-of-{other}-at-{name}": (name, job_token(other))
        for name in (*PER_JOB, "pixverse")
        for other in (*PER_JOB, "segmind")
        if other != name
    },
    **{f"an-account-token-of-{name}-at-pixverse": ("pixverse", account_token(name)) for name in PER_JOB},
    "an-account-that-is-not-set-up": ("pixverse", account_token("pixverse", "nobody")),
    "an-account-of-an-empty-name": ("pixverse", account_token("pixverse", "")),
    **{f"another-key-at-{name}": (name, job_token(name, tokens=OTHER)) for name in PER_JOB},
    "another-key-at-pixverse": ("pixverse", account_token("pixverse", tokens=OTHER)),
    **{f"31-days-old-for-a-job-we-do-not-know-at-{name}": (name, job_token(name, days_old=31)) for name in PER_JOB},
    "of-1970": ("useapi", TOKENS.mint(provider="useapi", job_id=new_id("job"), now=NOW - timedelta(days=20_700))),
    "the-public-key-alone": ("useapi", SIGNING_KEY[:8]),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_token_that_is_not_for_this_is_not_verified(stranger: Stranger, kind: str) -> None:
    provider, token = WRONG[kind]
    (reply,) = await stranger.is_refused(sent_as(provider, token, stranger), status=401, hides=(token,))
    assert reply.body == b"not verified"


def flipped(text: str, place: int) -> str:
    letter = "A" if text[place] != "A" else "B"
    return text[:place] + letter + text[place + 1 :]


def exchanged(kind: str, token: str, other: str) -> str:
    claims, _, mac = token.rpartition(".")
    other_claims, _, other_mac = other.rpartition(".")
    raw_mac = base64_decode(mac)
    return {
        "another-jobs-claims": f"{other_claims}.{mac}",
        "another-jobs-signature": f"{claims}.{other_mac}",
        "first-letter": flipped(token, 0),
        "middle-letter": flipped(token, len(claims) // 2),
        "first-letter-of-the-signature": flipped(token, len(claims) + 1),
        "no-signature": f"{claims}.",
        "no-dot": claims + mac,
        "no-claims": f".{mac}",
        "signature-alone": mac,
        "half-a-signature": f"{claims}.{base64_encode(raw_mac[:16]).decode()}",
        "signature-and-more": f"{claims}.{base64_encode(raw_mac + b'x').decode()}",
        "signature-of-zeros": f"{claims}.{base64_encode(bytes(32)).decode()}",
        "signature-in-hexadecimal": f"{claims}.{raw_mac.hex()}",
        "signature-padded": f"{token}=",
        "signature-of-standard-base-64": f"{claims}.{mac.replace('-', '+').replace('_', '/')}~",
        "signature-not-canonical": token[:-1] + next(
            letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            if letter != token[-1] and base64_decode(mac[:-1] + letter) == raw_mac
        ),
        "claims-padded": f"{claims}=.{mac}",
        "claims-changed": f"{base64_encode(base64_decode(claims).replace(b'useapi', b'useapl')).decode()}.{mac}",
        "claims-older": f"{base64_encode(base64_decode(claims).replace(b'i', b'I')).decode()}.{mac}",
        "parts-swapped": f"{mac}.{claims}",
        "a-second-dot": token.replace(".", ".."),
        "signed-twice": f"{token}.{mac}",
        "case-swapped": token.swapcase(),
        "reversed": token[::-1],
    }[kind]  # fmt: skip


EXCHANGED = (
    "another-jobs-claims",
    "another-jobs-signature",
    "first-letter",
    "middle-letter",
    "first-letter-of-the-signature",
    "no-signature",
    "no-dot",
    "no-claims",
    "signature-alone",
    "half-a-signature",
    "signature-and-more",
    "signature-of-zeros",
    "signature-in-hexadecimal",
    "signature-padded",
    "signature-of-standard-base-64",
    "signature-not-canonical",
    "claims-padded",
    "claims-changed",
    "claims-older",
    "parts-swapped",
    "a-second-dot",
    "signed-twice",
    "case-swapped",
    "reversed",
)


@pytest.mark.parametrize("kind", EXCHANGED)
async def test_a_token_with_any_part_exchanged_is_not_verified(stranger: Stranger, kind: str) -> None:
    token = job_token("useapi")
    wrong = exchanged(kind, token, job_token("useapi"))
    assert wrong != token
    await stranger.is_refused(
        sent_as("useapi", wrong, stranger), status=401, hides=(token, wrong, token.rpartition(".")[2])
    )


async def test_the_account_and_the_age_of_a_token_are_what_is_refused_here(stranger: Stranger) -> None:
    for provider, token in (
        ("useapi", job_token("useapi", days_old=29.9)),
        ("aihubmax", job_token("aihubmax")),
        ("pixverse", account_token("pixverse")),
    ):
        before = stranger.kept()
        (reply,) = await stranger.sends(sent_as(provider, token, stranger))
        assert reply.is_ok
        assert stranger.kept() != before


async def test_a_job_of_another_provider_is_not_told_of(stranger: Stranger) -> None:
    job = new_id("job")
    assert (await Good.useapi(job).sent_to(stranger.served)).is_ok
    token = TOKENS.mint(provider="aihubmax", job_id=job, now=NOW)
    await stranger.is_refused(sent_as("aihubmax", token, stranger), status=401, hides=(token,))


class TestAfterARotation:
    """The ring holds a new key in front of the old one; before that one, there was another."""

    @pytest.fixture(scope="class")
    async def served(self, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
        secrets = ("brand-new-key-0123456789-0123456789", SIGNING_KEY)
        async with a_served_receiver(tmp_path_factory.mktemp("rotated"), keys=secrets) as running:
            yield running

    async def test_the_old_key_is_good_and_the_one_before_it_is_not(self, stranger: Stranger) -> None:
        assert (await Good.useapi().sent_to(stranger.served)).is_ok
        await stranger.is_refused(sent_as("useapi", job_token("useapi", tokens=OTHER), stranger), status=401)

    async def test_new_reply_urls_are_of_the_new_key(self, stranger: Stranger) -> None:
        _, path = await stranger.served.register("useapi")
        TokenKeys(("brand-new-key-0123456789-0123456789",)).read(path.rpartition("/")[2], provider="useapi")
