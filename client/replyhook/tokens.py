"""Reply URL ⇄ signed reference: the token that proves a callback was invited by us.

A token is signed, not encrypted (itsdangerous, HMAC-SHA-256), so it holds nothing personal: the provider, the job's id
and the time it was made. Keys are a list: the first signs, all verify, so a key is rotated by putting the new one
in front and taking the old one off after the longest job.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode, want_bytes

from replyhook.errors import ConfigurationError, InvalidRequest, VerificationError
from replyhook.ids import is_id
from replyhook.jobs import DEFAULT_ACCOUNT, MAX_USER_LENGTH, checked_reference

MAX_REPLY_URL_LENGTH = 1024
"""The shortest limit among the providers: useapi.net's ``replyUrl`` (PROVIDERS §5.1; AIHubMax takes 2,048)."""

MIN_KEY_LENGTH = 16
_VERSION = 1
_END_OF_TIME = 10**11  # seconds since 1970; a datetime holds more than twice as many
_MAX_TOKEN_LENGTH = 512
_EPOCH = datetime.fromtimestamp(0, UTC)
_JOB_SALT = "replyhook.reply-url.job"
_ACCOUNT_SALT = "replyhook.reply-url.account"
_DETACHED_SALT = "replyhook.reply-url.detached"
_PURPOSE_SALT = "replyhook.purpose."
_MAX_CLAIMS_TOKEN_LENGTH = 4096


class _JobClaims(msgspec.Struct, kw_only=True, frozen=True):
    v: int
    p: str
    j: str
    i: int


class _AccountClaims(msgspec.Struct, kw_only=True, frozen=True):
    v: int
    p: str
    a: str


class _DetachedClaims(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    v: int
    p: str
    j: str
    i: int
    r: str | None = None


_JOB_DECODER = msgspec.json.Decoder(_JobClaims)
_ACCOUNT_DECODER = msgspec.json.Decoder(_AccountClaims)
_DETACHED_DECODER = msgspec.json.Decoder(_DetachedClaims)


class ReplyToken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a token says: whose callback it is for, about which job, and since when.

    An account token, for a provider whose webhook is registered once for a whole account, names no job.
    """

    provider: str
    job_id: str | None
    issued_at: datetime
    account: str = DEFAULT_ACCOUNT


class DetachedToken(ReplyToken, frozen=True, kw_only=True, gc=False):
    """A token that a detached client has made: it brings its key's user, and the job's reference."""

    user: str
    reference: str | None

    def __repr__(self) -> str:
        return f"<DetachedToken {self.provider} {self.job_id}>"


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The key ring that mints and checks reply tokens."""

    keys: Sequence[str] = field(repr=False)
    _job_signers: "tuple[_Signer, ...]" = field(init=False, repr=False, compare=False)
    _account_signers: "tuple[_Signer, ...]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError("no signing key: set REPLYHOOK_SIGNING_KEYS to one or more keys, newest first")
        if any(len(key) < MIN_KEY_LENGTH for key in self.keys):
            raise ConfigurationError(f"a signing key needs at least {MIN_KEY_LENGTH} characters of randomness")
        object.__setattr__(self, "_job_signers", _signers(self.keys, _JOB_SALT))
        object.__setattr__(self, "_account_signers", _signers(self.keys, _ACCOUNT_SALT))

    def mint(self, *, provider: str, job_id: str, now: datetime) -> str:
        """A token for one job at one provider."""
        return _sign(self._job_signers, _JobClaims(v=_VERSION, p=provider, j=job_id, i=int(now.timestamp())))

    def mint_account(self, *, provider: str, account: str) -> str:
        """The token for one account's webhook: always the same one, so that it can be printed again."""
        return _sign(self._account_signers, _AccountClaims(v=_VERSION, p=provider, a=account))

    def mint_for(self, purpose: str, claims: bytes) -> str:
        """A token for another purpose than being called back, which ``read`` never takes for one."""
        token = _sign_bytes(_signers(self.keys[:1], _PURPOSE_SALT + purpose), claims)
        if len(token) > _MAX_CLAIMS_TOKEN_LENGTH:
            raise InvalidRequest(
                "token", f"{len(token)} characters", f"at most {_MAX_CLAIMS_TOKEN_LENGTH}: ask for less"
            )
        return token

    def read_for(self, purpose: str, token: str) -> bytes:
        """The claims of a token that was minted for ``purpose``. Raises ``VerificationError`` for any other."""
        known = token.isascii() and len(token) <= _MAX_CLAIMS_TOKEN_LENGTH
        claims = _signed_claims(_signers(self.keys, _PURPOSE_SALT + purpose), token) if known else None
        if claims is None:
            raise VerificationError("the token is not one of ours, or not for this")
        return claims

    def read(self, token: str, *, provider: str) -> ReplyToken:
        """What a token says. Raises ``VerificationError`` unless we made it, for this provider."""
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            raise VerificationError(_NOT_OURS)
        job_claims = _signed_claims(self._job_signers, token)
        if job_claims is not None:
            return _read_job(job_claims, provider)
        account_claims = _signed_claims(self._account_signers, token)
        if account_claims is not None:
            return _read_account(account_claims, provider)
        raise VerificationError(_NOT_OURS)


@dataclass(frozen=True, slots=True)
class ReplyKeys:
    """The key ring of detached clients, used for nothing else: each key, ``user:key``, is bound to one user.

    The first signs, all verify; which one does says whose job it is, so the token need not name the user. It does hold
    the job's reference: signed, not encrypted.
    """

    keys: Sequence[str] = field(repr=False)
    _users: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _signers: "tuple[_Signer, ...]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ConfigurationError("no reply key: set REPLYHOOK_REPLY_KEYS to one or more user:key, newest first")
        pairs = [entry.rpartition(":") for entry in self.keys]
        if any(not user or len(user) > MAX_USER_LENGTH or len(key) < MIN_KEY_LENGTH for user, _, key in pairs):
            raise ConfigurationError(
                f"a reply key is user:key, the user of 1 to {MAX_USER_LENGTH} characters, the key at least "
                f"{MIN_KEY_LENGTH} of randomness without a colon"
            )
        object.__setattr__(self, "_users", tuple(user for user, _, _ in pairs))
        object.__setattr__(self, "_signers", _signers([key for _, _, key in pairs], _DETACHED_SALT))

    @property
    def user(self) -> str:
        """Whose jobs the first key makes."""
        return self._users[0]

    def mint(self, *, provider: str, job_id: str, reference: str | None, now: datetime) -> str:
        """A token for one job of the first key's user."""
        claims = _DetachedClaims(v=_VERSION, p=provider, j=job_id, i=int(now.timestamp()), r=reference)
        return _sign(self._signers, claims)

    def read(self, token: str, *, provider: str) -> DetachedToken:
        """What a token says. Raises ``VerificationError`` unless one of these keys made it, for this provider."""
        if len(token) > MAX_REPLY_URL_LENGTH or not token.isascii():
            raise VerificationError(_NOT_OURS)
        for user, signer in zip(self._users, self._signers, strict=True):
            claims = _signed_claims((signer,), token)
            if claims is not None:
                return _read_detached(claims, provider, user)
        raise VerificationError(_NOT_OURS)


_NOT_OURS = "the reply URL's token is not one of ours"
_NOT_FOR_IT = "the reply URL's token is for another provider"


class _Signer(Signer):
    """itsdangerous' signer, which keeps the key it derives instead of deriving it at every check."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._derived = super().derive_key()
        self._keyed = hmac.new(self._derived, digestmod="sha256")

    def derive_key(self, secret_key: str | bytes | None = None) -> bytes:  # noqa: ARG002 - it has but one
        return self._derived

    def get_signature(self, value: str | bytes) -> bytes:
        """The same as itsdangerous makes; what depends on the key alone is worked out once."""
        mac = self._keyed.copy()
        mac.update(want_bytes(value))
        return base64_encode(mac.digest())


def _signers(keys: Sequence[str], salt: str) -> tuple[_Signer, ...]:
    # Not its URLSafeSerializer: that may compress, and a path that then begins with a dot is what proxies refuse.
    return tuple(_Signer(key, salt=salt, digest_method=hashlib.sha256, key_derivation="hmac") for key in keys)


def _sign(signers: Sequence[_Signer], claims: _JobClaims | _AccountClaims | _DetachedClaims) -> str:
    return _sign_bytes(signers, msgspec.json.encode(claims))


def _sign_bytes(signers: Sequence[_Signer], claims: bytes) -> str:
    return signers[0].sign(base64_encode(claims)).decode("ascii")


def _signed_claims(signers: Sequence[_Signer], token: str) -> bytes | None:
    """What the token holds, or None where none of these signers made it.

    Signatures are compared as text: base 64 leaves bits of the last character unused, and one job has one token.
    """
    payload, _, signature = token.encode("ascii").rpartition(b".")
    is_ours = False
    for signer in signers:
        is_ours |= hmac.compare_digest(signer.get_signature(payload), signature)
    if not is_ours:
        return None
    try:
        return base64_decode(payload)
    except BadData:
        return None


def _read_job(claims: bytes, provider: str) -> ReplyToken:
    try:
        read = _JOB_DECODER.decode(claims)
    except msgspec.DecodeError as error:
        raise VerificationError(_NOT_OURS) from error
    if read.v != _VERSION or not is_id("job", read.j) or not 0 <= read.i < _END_OF_TIME:
        raise VerificationError(_NOT_OURS)
    if read.p != provider:
        raise VerificationError(_NOT_FOR_IT)
    return ReplyToken(provider=read.p, job_id=read.j, issued_at=datetime.fromtimestamp(read.i, UTC))


def _read_account(claims: bytes, provider: str) -> ReplyToken:
    try:
        read = _ACCOUNT_DECODER.decode(claims)
    except msgspec.DecodeError as error:
        raise VerificationError(_NOT_OURS) from error
    if read.v != _VERSION:
        raise VerificationError(_NOT_OURS)
    if read.p != provider:
        raise VerificationError(_NOT_FOR_IT)
    return ReplyToken(provider=read.p, job_id=None, issued_at=_EPOCH, account=read.a)


def _read_detached(claims: bytes, provider: str, user: str) -> DetachedToken:
    try:
        read = _DETACHED_DECODER.decode(claims)
        reference = checked_reference(read.r)
    except (msgspec.DecodeError, InvalidRequest) as error:
        raise VerificationError(_NOT_OURS) from error
    if read.v != _VERSION or not is_id("job", read.j) or not 0 <= read.i < _END_OF_TIME:
        raise VerificationError(_NOT_OURS)
    if read.p != provider:
        raise VerificationError(_NOT_FOR_IT)
    issued_at = datetime.fromtimestamp(read.i, UTC)
    return DetachedToken(provider=read.p, job_id=read.j, issued_at=issued_at, user=user, reference=reference)


def build_reply_url(public_url: str, *, provider: str, token: str) -> str:
    """Where a provider calls back. Raises ``ConfigurationError`` when it would grow over 1,024 characters."""
    url = f"{public_url.rstrip('/')}/callbacks/{provider}/{token}"
    if len(url) > MAX_REPLY_URL_LENGTH:
        raise ConfigurationError(
            f"the reply URL would have {len(url)} characters; {MAX_REPLY_URL_LENGTH} is the shortest limit among the "
            "providers: use a shorter REPLYHOOK_PUBLIC_URL"
        )
    return url
