"""Reply URL ⇄ signed reference: the token that proves a callback was invited by us.

A token is signed, not encrypted (itsdangerous, HMAC-SHA-256), so it holds nothing personal: the provider, the job's id
and the time it was made. Keys are a list: the first signs, all verify, so a key is rotated by putting the new one
in front and taking the old one off after the longest job.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from replyhook.errors import ConfigurationError, VerificationError
from replyhook.ids import is_id
from replyhook.jobs import DEFAULT_ACCOUNT

MAX_REPLY_URL_LENGTH = 1024
"""The shortest limit among the providers: useapi.net's ``replyUrl`` (PROVIDERS §5.1; AIHubMax takes 2,048)."""

MIN_KEY_LENGTH = 16
_VERSION = 1
_END_OF_TIME = 10**11  # seconds since 1970; a datetime holds more than twice as many
_MAX_TOKEN_LENGTH = 512
_JOB_SALT = "replyhook.reply-url.job"
_ACCOUNT_SALT = "replyhook.reply-url.account"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyToken:
    """What a token says: whose callback it is for, about which job, and since when.

    An account token, for a provider whose webhook is registered once for a whole account, names no job.
    """

    provider: str
    job_id: str | None
    issued_at: datetime
    account: str = DEFAULT_ACCOUNT


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The key ring that mints and checks reply tokens."""

    keys: Sequence[str] = field(repr=False)
    _job_signer: Signer = field(init=False, repr=False, compare=False)
    _account_signer: Signer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError("no signing key: set REPLYHOOK_SIGNING_KEYS to one or more keys, newest first")
        if any(len(key) < MIN_KEY_LENGTH for key in self.keys):
            raise ConfigurationError(f"a signing key needs at least {MIN_KEY_LENGTH} characters of randomness")
        object.__setattr__(self, "_job_signer", _signer(self.keys, _JOB_SALT))
        object.__setattr__(self, "_account_signer", _signer(self.keys, _ACCOUNT_SALT))

    def mint(self, *, provider: str, job_id: str, now: datetime) -> str:
        """A token for one job at one provider."""
        claims = {"v": _VERSION, "p": provider, "j": job_id, "i": int(now.timestamp())}
        return _sign(self._job_signer, claims)

    def mint_account(self, *, provider: str, account: str) -> str:
        """The token for one account's webhook: always the same one, so that it can be printed again."""
        return _sign(self._account_signer, {"v": _VERSION, "p": provider, "a": account})

    def read(self, token: str, *, provider: str) -> ReplyToken:
        """What a token says. Raises ``VerificationError`` unless we made it, for this provider."""
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            raise VerificationError(_NOT_OURS)
        job_claims = _claims(self._job_signer, token)
        if job_claims is not None:
            return _read_job(job_claims, provider)
        account_claims = _claims(self._account_signer, token)
        if account_claims is not None:
            return _read_account(account_claims, provider)
        raise VerificationError(_NOT_OURS)


_NOT_OURS = "the reply URL's token is not one of ours"
_NOT_FOR_IT = "the reply URL's token is for another provider"


class _Signer(Signer):
    """itsdangerous' signer, which keeps the keys it derives instead of deriving them at every check."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._derived = {key: super(_Signer, self).derive_key(key) for key in self.secret_keys}

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:
        return self._derived[self.secret_keys[-1] if secret_key is None else want_bytes(secret_key)]


def _signer(keys: Sequence[str], salt: str) -> Signer:
    # Not its URLSafeSerializer: that may compress, and a path that then begins with a dot is what proxies refuse.
    return _Signer(
        list(reversed(keys)),  # itsdangerous signs with the last of its list
        salt=salt,
        digest_method=hashlib.sha256,
        key_derivation="hmac",
    )


def _sign(signer: Signer, claims: dict[str, Any]) -> str:
    return signer.sign(base64_encode(msgspec.json.encode(claims))).decode("ascii")


def _claims(signer: Signer, token: str) -> Any:
    """What the token holds, or None where this signer did not make it."""
    try:
        claims = msgspec.json.decode(base64_decode(signer.unsign(token)))
        signature = token.rpartition(".")[2]
        # Base 64 leaves bits of the last character unused: one job has one token, not four.
        is_canonical = base64_encode(base64_decode(signature)).decode() == signature
    except (BadData, ValueError, msgspec.DecodeError):
        return None
    return claims if is_canonical else None


def _read_job(claims: Any, provider: str) -> ReplyToken:
    match claims:
        case {"v": 1, "p": str(name), "j": str(job_id), "i": int(issued)} if (
            is_id("job", job_id) and 0 <= issued < _END_OF_TIME
        ):
            if name != provider:
                raise VerificationError(_NOT_FOR_IT)
            return ReplyToken(provider=name, job_id=job_id, issued_at=datetime.fromtimestamp(issued, UTC))
        case _:
            raise VerificationError(_NOT_OURS)


def _read_account(claims: Any, provider: str) -> ReplyToken:
    match claims:
        case {"v": 1, "p": str(name), "a": str(account)}:
            if name != provider:
                raise VerificationError(_NOT_FOR_IT)
            return ReplyToken(provider=name, job_id=None, issued_at=datetime.fromtimestamp(0, UTC), account=account)
        case _:
            raise VerificationError(_NOT_OURS)


def build_reply_url(public_url: str, *, provider: str, token: str) -> str:
    """Where a provider calls back. Raises ``ConfigurationError`` when it would grow over 1,024 characters."""
    url = f"{public_url.rstrip('/')}/callbacks/{provider}/{token}"
    if len(url) > MAX_REPLY_URL_LENGTH:
        raise ConfigurationError(
            f"the reply URL would have {len(url)} characters; {MAX_REPLY_URL_LENGTH} is the shortest limit among the "
            "providers: use a shorter REPLYHOOK_PUBLIC_URL"
        )
    return url
