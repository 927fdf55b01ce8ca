"""Who may call the API, and what of it: bearer keys, looked for by hash; scopes, and keys of one user's."""

import asyncio
import hashlib
import hmac
import logging
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook_receiver.errors import (
    ReceiverTrouble,
    StoreUnavailable,
    UnknownCallback,
    UnknownDelivery,
    UnknownEndpoint,
    UnknownJob,
)
from replyhook_receiver.keys import EVERYTHING, KEY_PREFIX, KeyRecord, Scope, with_implied
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.stores.owners import Owners, Thing
from replyhook_receiver.web.limits import Buckets
from replyhook_receiver.web.problems import problem
from replyhook_receiver.web.route_scopes import Rule, Within, rule_of

Endpoint = Callable[[Request], Awaitable[Response]]

NOTED_EVERY = timedelta(minutes=1)
"""A key's last use is written no more often than this."""

_ACCESS = "replyhook.access"
_GIVEN = "replyhook.given-access"
_FORM = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}")
_log = logging.getLogger(__name__)
_UNKNOWN: dict[Thing, tuple[type[ReceiverTrouble], str]] = {
    Thing.JOB: (UnknownJob, "job"),
    Thing.NEW_JOB: (UnknownJob, "job"),
    Thing.CALLBACK: (UnknownCallback, "callback"),
    Thing.DELIVERY: (UnknownDelivery, "delivery"),
    Thing.ENDPOINT: (UnknownEndpoint, "endpoint"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a valid key gives: what its scopes allow, for everybody's jobs or one user's.

    ``key_id`` names the key and tells nothing of it. ``scopes`` are all, the implied ones too.
    """

    key_id: str
    user: str | None = field(default=None, repr=False)
    scopes: frozenset[Scope] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a key may not do what it asks for."""

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


class ApiKeys:
    """The keys that are valid: those of the settings, which may do everything, and those that ``kept`` holds.

    Of all only hashes are kept. ``owners`` says whose a thing is; ``requests_per_minute`` is for each key, 0: no limit.
    ``once`` is what POSTs with an Idempotency-Key go through; ``check`` raises for what no route is asked for;
    ``noted`` notes what was done.
    """

    def __init__(
        self,
        of_settings: Sequence[str],
        *,
        kept: Keys | None = None,
        owners: Owners | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        requests_per_minute: int = 0,
        once: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
        check: Callable[[Request], None] = lambda _: None,
        noted: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
    ) -> None:
        self._hashes = [_hash(key) for key in of_settings]
        self._kept = kept
        self._owners = owners
        self._now = now
        self._buckets = Buckets(per_minute=requests_per_minute)
        self._noting_use: dict[str, asyncio.Task[None]] = {}
        self._once = once
        self._check = check
        self._noted = noted

    async def access(self, authorization: str | None) -> Access | None:
        """What an ``Authorization`` header gives, or None where it holds no valid key."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer":
            return None
        offered = _hash(key)
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        if any(matches):
            return Access(key_id=_key_id(offered), scopes=EVERYTHING)
        if self._kept is None or not _FORM.fullmatch(key):
            return None
        return self._access_by(await self._kept.find(key), is_used=True)

    async def access_now(self, key_id: str) -> Access | None:
        """What the key of that id gives now, or None where it is no longer valid."""
        if key_id in map(_key_id, self._hashes):
            return Access(key_id=key_id, scopes=EVERYTHING)
        return None if self._kept is None else self._access_by(await self._kept.get(key_id), is_used=False)

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for those whose key may do what its route's rule asks; a problem for everybody else.

        A route without a rule is for nobody.
        """
        noted = self._noted(endpoint)
        once = self._once(noted)

        async def guarded(request: Request) -> Response:
            access = _given(request) or await self.access(request.headers.get("authorization"))
            if access is None:
                detail = "this needs a valid API key: Authorization: Bearer rhk_…"
                return problem(401, detail, headers={"www-authenticate": 'Bearer realm="replyhook"'})
            refusal = await self.refusal(request, access)
            if refusal is not None:
                return problem(refusal.status, refusal.detail, headers=refusal.headers)
            request.scope[_ACCESS] = access
            self._check(request)
            return await (once if request.method == "POST" else noted)(request)

        return guarded

    async def refusal(self, request: Request, access: Access) -> Refusal | None:
        """Why this key may not do this now; raises that there is no such thing where it is another user's."""
        wait = None if _given(request) else self._buckets.take(access.key_id)  # that request was counted already
        if wait is not None:
            seconds = math.ceil(wait)
            detail = f"this key asks too often; ask again in {seconds} s"
            return Refusal(status=429, detail=detail, headers={"retry-after": str(seconds)})
        rule = _rule_for(request)
        if rule is None or rule.scope not in access.scopes:
            needed = rule.scope if rule is not None else "of a rule that its route does not have"
            have = ", ".join(sorted(access.scopes))
            headers = {} if rule is None else {"www-authenticate": _lacks(rule.scope)}
            return Refusal(status=403, detail=f"this needs the scope {needed}; this key's are: {have}", headers=headers)
        if access.user is None or rule.user is Within.NARROWED:
            return None
        if rule.user is Within.NOTHING:
            return Refusal(
                status=403, detail="this is about the receiver as a whole; this key is of one user's things only"
            )
        await self.check_own(access, Thing(rule.user), request.path_params["id"])
        return None

    async def check_own(self, access: Access, thing: Thing, ident: str) -> None:
        """Raise that there is no such thing, where a key of one user's asks for what is not that user's."""
        if access.user is None:
            return
        if self._owners is None or not await self._owners.is_users(thing, ident, access.user):
            error, name = _UNKNOWN[thing]
            raise error(f"there is no {name} {ident[:64]}")

    async def close(self) -> None:
        """Wait for what is being noted."""
        await asyncio.gather(*self._noting_use.values(), return_exceptions=True)

    def _access_by(self, record: KeyRecord | None, *, is_used: bool) -> Access | None:
        now = self._now()
        if record is None or not record.is_valid(now):
            return None
        if is_used and (record.last_used_at is None or abs(now - record.last_used_at) >= NOTED_EVERY):
            self._note_use(record.id, now)
        return Access(key_id=record.id, user=record.user, scopes=with_implied(record.scopes))

    def _note_use(self, key_id: str, now: datetime) -> None:
        """Beside the request, which does not wait for the disk; one at a time for each key."""
        if key_id not in self._noting_use:
            self._noting_use[key_id] = asyncio.create_task(self._note_use_now(key_id, now))

    async def _note_use_now(self, key_id: str, now: datetime) -> None:
        try:
            if self._kept is not None:
                await self._kept.note_use(key_id, now=now)
        except StoreUnavailable as error:
            _log.warning("the last use of %s could not be noted: %s", key_id, error)
        finally:
            self._noting_use.pop(key_id, None)


def access_of(request: Request) -> Access:
    """What the key of a guarded request gives."""
    access: Access = request.scope[_ACCESS]
    return access


def own_user(access: Access, given: str | None) -> str | None:
    """Whose things a request is about: ``given``'s; with a key of one user's that user's, who need not be named.

    Raises ``InvalidRequest`` where another one is named: the same whether or not there is such a user.
    """
    if access.user is None:
        return given
    if given not in (None, access.user):
        raise InvalidRequest("user", given, "nobody else: this key is of one user's things; leave user out")
    return access.user


def given_access(access: Access) -> dict[str, Access]:
    """What a scope holds besides, when a page of ours asks the API for whoever is signed in: no request can say it."""
    return {_GIVEN: access}


def is_given_access(request: Request) -> bool:
    """Whether a page of ours asks."""
    return _given(request) is not None


def _given(request: Request) -> Access | None:
    access: Access | None = request.scope.get(_GIVEN)
    return access


def _rule_for(request: Request) -> Rule | None:
    route = request.scope.get("route")
    return rule_of(request.method, route.path) if isinstance(route, Route) else None


def _lacks(scope: Scope) -> str:
    return f'Bearer realm="replyhook", error="insufficient_scope", scope="{scope}"'


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _key_id(key_hash: bytes) -> str:
    return hashlib.sha256(b"replyhook.key-id" + key_hash).hexdigest()[:16]
