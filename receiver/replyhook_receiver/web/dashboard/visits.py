"""Who is signed in: a session behind a signed cookie, good for as long as its API key is."""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from replyhook.errors import InvalidRequest, VerificationError
from replyhook.tokens import TokenKeys
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.keys import Scope, name_of
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.stores.sessions import LONGEST_SESSION, Sessions
from replyhook_receiver.web.auth import NOTED_EVERY, Access, ApiKeys

_PURPOSE = "dashboard-session"
_CSRF_PERSON = b"replyhook-csrf"
_VISIT = "replyhook.visit"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody who is signed in: what their key gives, what it is called, and the proof that a form is of ours."""

    access: Access
    name: str
    csrf: str = field(repr=False)
    session_id: str = field(repr=False)


class Visits:
    """Begins and ends sessions, and knows them by their cookie. ``is_secure``: the cookie is for https alone."""

    def __init__(
        self,
        *,
        keys: ApiKeys,
        names: Keys,
        sessions: Sessions,
        tokens: TokenKeys,
        is_secure: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._names = names
        self._sessions = sessions
        self._tokens = tokens
        self._is_secure = is_secure
        self._now = now

    async def begin(self, key: str) -> str | None:
        """A new session's id, for whoever has a valid key; None for everybody else.

        Raises ``InvalidRequest`` for a valid key that may read nothing.
        """
        access = await self._keys.access(f"Bearer {key}")
        if access is None:
            return None
        if Scope.READ not in access.scopes:
            raise InvalidRequest("key", None, "a key of the scope read, operate or admin: this one may only submit")
        session_id = secrets.token_urlsafe(32)
        await self._sessions.begin(session_id, access.key_id, now=self._now())
        return session_id

    async def current(self, request: Request) -> Visit | None:
        """Whose request it is; None where nobody is signed in, or not any more. Raises ``StoreUnavailable``."""
        session_id = self._session_id(request)
        found = None if session_id is None else await self._sessions.find(session_id)
        now = self._now()
        if session_id is None or found is None or not found.is_valid(now):
            return None
        access = await self._keys.access_now(found.key_id)
        if access is None or Scope.READ not in access.scopes:
            return None
        # What a page fetches by itself is no sign of anybody being there.
        if "hx-request" not in request.headers and abs(now - found.last_seen_at) >= NOTED_EVERY:
            await self._note_use(session_id, now)
        name = name_of(await self._names.get(access.key_id))
        return Visit(access=access, name=name, csrf=csrf_of(session_id), session_id=session_id)

    async def end(self, request: Request) -> None:
        """Sign out: the session opens nothing any more, whoever has its cookie."""
        session_id = self._session_id(request)
        if session_id is not None:
            await self._sessions.revoke(session_id, now=self._now())

    def remember(self, request: Request, response: Response, session_id: str) -> None:
        """Give the browser its cookie."""
        response.set_cookie(
            self._cookie(request),
            self._tokens.mint_for(_PURPOSE, session_id.encode()),
            max_age=int(LONGEST_SESSION.total_seconds()),
            path=cookie_path(request),
            secure=self._is_secure,
            httponly=True,
            samesite="lax",  # strict would ask whoever comes by a link in a mail to sign in again
        )

    def forget(self, request: Request, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(
            self._cookie(request), path=cookie_path(request), secure=self._is_secure, httponly=True, samesite="lax"
        )

    def _session_id(self, request: Request) -> str | None:
        try:
            return self._tokens.read_for(_PURPOSE, request.cookies.get(self._cookie(request), "")).decode("ascii")
        except (VerificationError, UnicodeDecodeError):
            return None

    def _cookie(self, request: Request) -> str:
        """With the prefix a browser takes it from this very host alone, and never from a neighbour's."""
        return "__Host-replyhook" if self._is_secure and cookie_path(request) == "/" else "replyhook"

    async def _note_use(self, session_id: str, now: datetime) -> None:
        try:
            async with asyncio.timeout(2.0):
                await self._sessions.note_use(session_id, now=now)
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("the last use of a session could not be noted: %s", type(error).__name__)


def csrf_of(session_id: str) -> str:
    """What a form of ours holds: made of the session, and nothing the session could be made of again."""
    return hashlib.blake2b(session_id.encode(), digest_size=24, person=_CSRF_PERSON).hexdigest()


def is_csrf_of(session_id: str, given: str) -> bool:
    """Whether a form is of this session's own pages."""
    return hmac.compare_digest(csrf_of(session_id).encode(), given.encode("utf-8", "surrogateescape"))


def cookie_path(request: Request) -> str:
    """Where cookies of ours are sent: to the receiver alone, wherever it is mounted."""
    return str(request.scope.get("root_path") or "/")


def visit_of(request: Request) -> Visit | None:
    """Who a guarded request is of; None on the pages before signing in."""
    visit: Visit | None = request.scope.get(_VISIT)
    return visit


def let_in(request: Request, visit: Visit) -> None:
    """From here on the request is known to be ``visit``'s."""
    request.scope[_VISIT] = visit
