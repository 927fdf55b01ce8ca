"""API keys: what they may do, what is kept of them, how they are made, checked and hashed."""

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from replyhook.errors import InvalidRequest
from replyhook.jobs import checked_user
from replyhook_receiver.endpoint_rules import checked_name

KEY_PREFIX = "rhk_"
_SHOWN_LETTERS = len(KEY_PREFIX) + 4
_PERSON = b"replyhook-apikey"


class Scope(StrEnum):
    """What a key may do."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


EVERYTHING = frozenset(Scope)
USUAL = frozenset({Scope.SUBMIT, Scope.READ})
"""What a program needs that submits jobs and waits for their videos."""
_LONGEST = timedelta(days=365_000)

_IMPLIED: Mapping[Scope, frozenset[Scope]] = {
    Scope.SUBMIT: frozenset({Scope.SUBMIT}),
    Scope.READ: frozenset({Scope.READ}),
    Scope.OPERATE: frozenset({Scope.OPERATE, Scope.READ}),
    Scope.ADMIN: EVERYTHING,
}


def with_implied(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """All that these scopes allow: ``operate`` implies ``read``, ``admin`` everything, ``submit`` nothing else."""
    return frozenset().union(*(_IMPLIED[scope] for scope in scopes))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to be made. ``user``: it is for this user's jobs only."""

    scopes: frozenset[Scope]
    name: str | None = None
    user: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is kept of a key: everything but the key. ``starts_with`` is enough to tell it from others."""

    id: str
    starts_with: str
    scopes: frozenset[Scope]
    created_at: datetime
    name: str | None = None
    user: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def checked_key(
    *, scopes: Collection[str], name: str | None, user: str | None, expires_at: datetime | None, now: datetime
) -> NewKey:
    """A key as it may be made. Raises ``InvalidRequest``."""
    known = set(Scope)
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        raise InvalidRequest("scopes", unknown[0][:64] if unknown else None, f"one or more of {', '.join(Scope)}")
    wanted = frozenset(Scope(scope) for scope in scopes)
    if user is not None and Scope.ADMIN in wanted:
        raise InvalidRequest("scopes", "admin", "submit, read, operate: a key of one user administers nothing")
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidRequest("expires_at", expires_at.isoformat(), "a time with its zone, such as 2027-01-31T12:00:00Z")
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest("expires_at", expires_at.isoformat(), "a time that is yet to come")
    if expires_at is not None and expires_at - now > _LONGEST:
        raise InvalidRequest("expires_at", expires_at.isoformat(), "within 1,000 years, or left out: it never expires")
    return NewKey(
        scopes=wanted, name=None if name is None else checked_name(name), user=checked_user(user), expires_at=expires_at
    )


def make_key() -> str:
    """A new key: 256 bits of luck."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def shown_beginning(key: str) -> str:
    """So much of a key as tells it from others and opens nothing."""
    return key[:_SHOWN_LETTERS]


def hash_key(key: str, secret: bytes) -> bytes:
    """What is kept of a key, and looked for.

    One fast round is enough: nobody guesses 256 random bits, so there is nothing for a slow hash to slow down, and a
    slow one would be work that any stranger could make for us. It is keyed with the database's own ``secret``, so
    whoever sends keys cannot choose which hashes the index compares.
    """
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=32, key=secret, person=_PERSON).digest()


def name_of(record: KeyRecord | None) -> str:
    """What people call a key; of those of the settings nothing is kept."""
    return "a key of the settings" if record is None else record.name or record.starts_with
