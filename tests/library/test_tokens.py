"""The reply URL's token: ours, for one provider, or refused."""

import hashlib
import json
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode

from replyhook.errors import ConfigurationError, VerificationError
from replyhook.ids import new_id
from replyhook.tokens import MAX_REPLY_URL_LENGTH, DetachedToken, ReplyKeys, ReplyToken, TokenKeys, build_reply_url

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
OLD, NEW, OTHER = "old-key-" + "a" * 24, "new-key-" + "b" * 24, "other-key-" + "c" * 24
KEYS = TokenKeys([NEW, OLD])
JOB_ID = "job_06gzvyj6038xt427xgy6esgkjx"
TOKEN = KEYS.mint(provider="fal", job_id=JOB_ID, now=NOW)
SECONDS = st.integers(0, 4_000_000_000)
URL_SAFE = string.ascii_letters + string.digits + "-_"


@given(provider=st.sampled_from(["fal", "useapi", "pixverse"]), seconds=SECONDS)
def test_what_was_minted_is_read_again(provider: str, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    job_id = new_id("job", at=seconds)
    token = KEYS.mint(provider=provider, job_id=job_id, now=at)
    assert KEYS.read(token, provider=provider) == ReplyToken(provider=provider, job_id=job_id, issued_at=at)


def test_a_token_needs_no_encoding_in_a_path() -> None:
    assert set(TOKEN) <= set(URL_SAFE + ".")


@given(place=st.integers(0, len(TOKEN) - 1), letter=st.sampled_from(URL_SAFE + ".!=\n "))
def test_any_changed_character_is_refused(place: int, letter: str) -> None:
    changed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(VerificationError):
            KEYS.read(changed, provider="fal")


@pytest.mark.parametrize("letter", URL_SAFE)
def test_the_last_character_counts_like_every_other(letter: str) -> None:
    """Base 64 leaves two bits of it unused: one job must not have four tokens."""
    if letter != TOKEN[-1]:
        with pytest.raises(VerificationError):
            KEYS.read(TOKEN[:-1] + letter, provider="fal")


@pytest.mark.parametrize("extra", ["=", "!", "\n", " ", ".", "A", "é"])
def test_nothing_can_be_added(extra: str) -> None:
    for changed in (TOKEN + extra, extra + TOKEN, TOKEN[:-5] + extra + TOKEN[-5:]):
        with pytest.raises(VerificationError):
            KEYS.read(changed, provider="fal")


def test_another_providers_token_is_refused() -> None:
    with pytest.raises(VerificationError):
        KEYS.read(TOKEN, provider="useapi")


def test_the_old_key_verifies_until_it_is_taken_off() -> None:
    before = TokenKeys([OLD]).mint(provider="fal", job_id=JOB_ID, now=NOW)
    assert TokenKeys([NEW, OLD]).read(before, provider="fal").job_id == JOB_ID
    with pytest.raises(VerificationError):
        TokenKeys([NEW]).read(before, provider="fal")


def test_the_first_key_signs() -> None:
    assert TokenKeys([NEW]).read(TOKEN, provider="fal").job_id == JOB_ID
    with pytest.raises(VerificationError):
        TokenKeys([OLD]).read(TOKEN, provider="fal")


def test_another_key_is_refused() -> None:
    with pytest.raises(VerificationError):
        TokenKeys([OTHER]).read(TOKEN, provider="fal")


def signer(salt: bytes) -> Signer:
    return Signer([OLD, NEW], salt=salt, digest_method=hashlib.sha256, key_derivation="hmac")


def signed(claims: object) -> str:
    payload = base64_encode(json.dumps(claims, separators=(",", ":")))
    return signer(b"replyhook.reply-url.job").sign(payload).decode()


def test_the_same_key_used_for_something_else_forges_nothing() -> None:
    payload = TOKEN.rpartition(".")[0]
    assert signer(b"replyhook.reply-url.job").sign(payload).decode() == TOKEN  # what follows differs by its salt alone
    with pytest.raises(VerificationError):
        KEYS.read(signer(b"replyhook.video-link").sign(payload).decode(), provider="fal")


@pytest.mark.parametrize(
    "claims",
    [
        None,
        [],
        "job",
        {},
        {"v": 2, "p": "fal", "j": JOB_ID, "i": 1},
        {"v": 1, "p": "fal", "j": "cb_x", "i": 1},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": "1"},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": 10**30},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": -(10**30)},
        {"v": 1, "p": ["fal"], "j": JOB_ID, "i": 1},
    ],
)
def test_a_properly_signed_token_of_another_form_is_refused(claims: object) -> None:
    with pytest.raises(VerificationError):
        KEYS.read(signed(claims), provider="fal")


@given(text=st.text() | st.text(URL_SAFE + ".", max_size=600))
def test_any_text_is_refused_with_a_verification_error_alone(text: str) -> None:
    with pytest.raises(VerificationError) as caught:
        KEYS.read(text, provider="fal")
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", ".eJw.x", "A" * 1_000_000, "\x00", "\ud800", "٣"], ids=repr)
def test_strange_text_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        KEYS.read(text[:2000], provider="fal")


def test_the_reply_url_ends_in_the_token() -> None:
    for public_url in ("https://hooks.example", "https://hooks.example/"):
        url = build_reply_url(public_url, provider="fal", token=TOKEN)
        assert url == f"https://hooks.example/callbacks/fal/{TOKEN}"


def test_a_reply_url_has_1024_characters_at_most() -> None:
    assert MAX_REPLY_URL_LENGTH == 1024
    room = 1024 - len(build_reply_url("", provider="useapi", token=TOKEN))
    assert len(build_reply_url("h" * room, provider="useapi", token=TOKEN)) == 1024
    with pytest.raises(ConfigurationError) as caught:
        build_reply_url("h" * (room + 1), provider="useapi", token=TOKEN)
    assert "1025" in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("keys", [[], [""], ["k" * 15], [NEW, "short"], "one string, and not a list of keys"])
def test_no_keys_and_short_keys_are_refused(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        TokenKeys(keys)


def test_keys_are_not_shown() -> None:
    assert NEW not in repr(KEYS)
    assert OLD not in repr(KEYS)


# Account tokens: one for a whole account, for the URL that is entered in a provider's console

ACCOUNT_TOKEN = KEYS.mint_account(provider="pixverse", account="default")


def signed_for_account(claims: object) -> str:
    payload = base64_encode(json.dumps(claims, separators=(",", ":")))
    return signer(b"replyhook.reply-url.account").sign(payload).decode()


@given(account=st.text(URL_SAFE + ".", min_size=1, max_size=64))
def test_an_account_token_is_minted_the_same_each_time_and_read_again(account: str) -> None:
    token = KEYS.mint_account(provider="pixverse", account=account)
    assert token == TokenKeys([NEW]).mint_account(provider="pixverse", account=account)
    assert set(token) <= set(URL_SAFE + ".")
    read = KEYS.read(token, provider="pixverse")
    assert (read.provider, read.account, read.job_id) == ("pixverse", account, None)


def test_a_job_token_names_no_account_of_its_own_and_an_account_token_no_job() -> None:
    assert KEYS.read(TOKEN, provider="fal").job_id == JOB_ID
    assert KEYS.read(TOKEN, provider="fal").account == "default"
    assert KEYS.read(ACCOUNT_TOKEN, provider="pixverse").job_id is None


def test_neither_kind_of_token_can_be_made_from_the_other() -> None:
    job_claims = {"v": 1, "p": "pixverse", "j": JOB_ID, "i": 1}
    account_claims = {"v": 1, "p": "pixverse", "a": "default"}
    assert signed_for_account(account_claims) == ACCOUNT_TOKEN  # so what follows is signed with the right keys
    both = job_claims | account_claims
    for token in (signed_for_account(job_claims), signed(account_claims)):
        with pytest.raises(VerificationError):
            KEYS.read(token, provider="pixverse")
    payload = ACCOUNT_TOKEN.rpartition(".")[0]
    with pytest.raises(VerificationError):
        KEYS.read(signer(b"replyhook.reply-url.job").sign(payload).decode(), provider="pixverse")
    assert KEYS.read(signed(both), provider="pixverse").job_id == JOB_ID
    assert KEYS.read(signed_for_account(both), provider="pixverse").job_id is None


@given(place=st.integers(0, len(ACCOUNT_TOKEN) - 1), letter=st.sampled_from(URL_SAFE + ".!=\n "))
def test_any_changed_character_of_an_account_token_is_refused(place: int, letter: str) -> None:
    changed = ACCOUNT_TOKEN[:place] + letter + ACCOUNT_TOKEN[place + 1 :]
    if changed != ACCOUNT_TOKEN:
        with pytest.raises(VerificationError):
            KEYS.read(changed, provider="pixverse")


def test_another_providers_account_token_is_refused() -> None:
    for provider in ("fal", "PIXVERSE", ""):
        with pytest.raises(VerificationError):
            KEYS.read(ACCOUNT_TOKEN, provider=provider)


def test_an_account_token_outlives_its_key_only_while_the_key_is_on_the_ring() -> None:
    before = TokenKeys([OLD]).mint_account(provider="pixverse", account="default")
    assert before != ACCOUNT_TOKEN
    assert KEYS.read(before, provider="pixverse") == KEYS.read(ACCOUNT_TOKEN, provider="pixverse")
    with pytest.raises(VerificationError):
        TokenKeys([NEW]).read(before, provider="pixverse")


@pytest.mark.parametrize(
    "claims",
    [None, [], {}, {"v": 2, "p": "pixverse", "a": "x"}, {"v": 1, "p": "pixverse", "a": 7}, {"v": 1, "a": "x"}],
    ids=repr,
)
def test_a_properly_signed_account_token_of_another_form_is_refused(claims: object) -> None:
    with pytest.raises(VerificationError):
        KEYS.read(signed_for_account(claims), provider="pixverse")


def test_an_account_of_the_longest_name_has_a_token_that_can_be_read_and_fits_a_reply_url() -> None:
    token = KEYS.mint_account(provider="pixverse", account="a" * 64)
    assert KEYS.read(token, provider="pixverse").account == "a" * 64
    build_reply_url("https://hooks.example", provider="pixverse", token=token)


# Detached clients' tokens

REPLY_KEYS = ReplyKeys([f"u_7:{NEW}", f"org:8:{OLD}"])
DETACHED = REPLY_KEYS.mint(provider="fal", job_id=JOB_ID, reference="order-42", now=NOW)


@given(reference=st.none() | st.text("aé€/ ", min_size=1, max_size=50), seconds=SECONDS)
def test_a_detached_token_brings_the_reference_and_its_keys_user(reference: str | None, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    token = REPLY_KEYS.mint(provider="useapi", job_id=JOB_ID, reference=reference, now=at)
    expected = DetachedToken(provider="useapi", job_id=JOB_ID, issued_at=at, user="u_7", reference=reference)
    assert REPLY_KEYS.read(token, provider="useapi") == expected
    assert set(token) <= set(URL_SAFE + ".")
    assert set(json.loads(base64_decode(token.partition(".")[0]))) <= {"v", "p", "j", "i", "r"}, "no user in it"
    assert "order-42" not in repr(expected)
    assert NEW not in repr(REPLY_KEYS)


def test_which_key_made_a_detached_token_says_whose_it_is() -> None:
    other = ReplyKeys([f"org:8:{OLD}"])
    token = other.mint(provider="fal", job_id=JOB_ID, reference=None, now=NOW)
    assert REPLY_KEYS.read(token, provider="fal").user == "org:8"
    assert (REPLY_KEYS.user, other.user) == ("u_7", "org:8")
    with pytest.raises(VerificationError):
        other.read(DETACHED, provider="fal")


def test_neither_key_ring_takes_the_others_tokens_even_with_the_same_key() -> None:
    with pytest.raises(VerificationError):
        KEYS.read(DETACHED, provider="fal")
    with pytest.raises(VerificationError):
        REPLY_KEYS.read(TOKEN, provider="fal")
    with pytest.raises(VerificationError):
        REPLY_KEYS.read(KEYS.mint_account(provider="fal", account="a"), provider="fal")


@given(place=st.integers(0, len(DETACHED) - 1), letter=st.sampled_from(URL_SAFE + ".!=\n é"))
def test_any_changed_character_of_a_detached_token_is_refused(place: int, letter: str) -> None:
    changed = DETACHED[:place] + letter + DETACHED[place + 1 :]
    if changed != DETACHED:
        with pytest.raises(VerificationError):
            REPLY_KEYS.read(changed, provider="fal")
    with pytest.raises(VerificationError):
        REPLY_KEYS.read(DETACHED, provider="useapi")


@pytest.mark.parametrize(
    "claims",
    [
        {"v": 2, "p": "fal", "j": JOB_ID, "i": 1},
        {"v": 1, "p": "fal", "j": "cb_x", "i": 1},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": 10**30},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": -1},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": 1, "r": 7},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": 1, "r": ""},
        {"v": 1, "p": "fal", "j": JOB_ID, "i": 1, "r": "a\nb"},
        [],
    ],
)
def test_a_detached_token_of_another_form_is_refused(claims: object) -> None:
    payload = base64_encode(json.dumps(claims))
    with pytest.raises(VerificationError):
        REPLY_KEYS.read(signer(b"replyhook.reply-url.detached").sign(payload).decode(), provider="fal")
    with pytest.raises(VerificationError):
        REPLY_KEYS.read("a" * (MAX_REPLY_URL_LENGTH + 1), provider="fal")


@pytest.mark.parametrize("keys", [[], [NEW], [f":{NEW}"], ["u_7:short"], [f"{'u' * 257}:{NEW}"], [f"u:{NEW}", OLD]])
def test_a_reply_key_is_a_user_and_a_key(keys: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ReplyKeys(keys)
    assert NEW not in str(caught.value)
