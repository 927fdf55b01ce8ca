"""Signing in with an API key, and out."""

import math
import re
import secrets
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest, VerificationError
from replyhook.tokens import TokenKeys
from replyhook_receiver.web.client_address import Network, client_address
from replyhook_receiver.web.dashboard.forms import MAX_FORM_BYTES, Form, is_from_here, read_form
from replyhook_receiver.web.dashboard.ground import STALE_FORM, Ground
from replyhook_receiver.web.dashboard.page_headers import page_headers
from replyhook_receiver.web.dashboard.pages import prefix_of, url_of
from replyhook_receiver.web.dashboard.visits import cookie_path, csrf_of, is_csrf_of, let_in
from replyhook_receiver.web.limits import FailureLimiter

WRONG_KEYS_PER_MINUTE = 10
_BEFORE = "replyhook_before"
_PURPOSE = "dashboard-before"
_NEXT = re.compile(r"/(?:[A-Za-z0-9_.~-][A-Za-z0-9_.~/-]*)?(?:\?[A-Za-z0-9_.~%&=+:-]*)?")
_LONGEST_NEXT = 500
_LONGEST_KEY = 200


class SignIn:
    """The pages. ``kept_in`` is the file of the key that the receiver made for itself, where there is one."""

    def __init__(
        self,
        ground: Ground,
        *,
        tokens: TokenKeys,
        trusted_proxies: Sequence[Network],
        is_secure: bool,
        kept_in: str | None,
    ) -> None:
        self._ground = ground
        self._tokens = tokens
        self._trusted_proxies = trusted_proxies
        self._is_secure = is_secure
        self._kept_in = kept_in
        self._limiter = FailureLimiter(per_minute=WRONG_KEYS_PER_MINUTE)

    def routes(self) -> list[Route]:
        """Open to all."""
        return [
            Route("/sign-in", self.show, methods=["GET"], name="sign_in"),
            Route("/sign-in", self.enter, methods=["POST"], name="enter", max_body_size=MAX_FORM_BYTES),
            Route("/sign-out", self.leave, methods=["POST"], name="sign_out", max_body_size=MAX_FORM_BYTES),
        ]

    async def show(self, request: Request) -> Response:
        """The form."""
        try:
            if await self._ground.visits.current(request) is not None:
                return self._onward(request, request.query_params.get("next", ""))
            return await self._form(request, onward=request.query_params.get("next", ""))
        except Exception as error:
            return await self._ground.trouble_for(request, error)

    async def enter(self, request: Request) -> Response:
        """Take a key; a wrong one is counted by address, a right one never."""
        try:
            form = await read_form(request)
            onward = form["next"]
            if not self._is_ours(request, form):
                return await self._form(request, onward=onward, problem=STALE_FORM, status=403)
            key = form["key"].strip()
            try:
                session_id = await self._ground.visits.begin(key) if len(key) <= _LONGEST_KEY else None
            except InvalidRequest as error:
                return await self._form(request, onward=onward, problem=error.allowed, status=403)
            if session_id is None:
                return await self._wrong(request, onward)
            await self._ground.visits.end(request)  # the session before this one, if there was one
            response = self._onward(request, onward)
            self._ground.visits.remember(request, response, session_id)
            response.delete_cookie(_BEFORE, path=cookie_path(request))
            return response
        except Exception as error:
            return await self._ground.trouble_for(request, error)

    async def leave(self, request: Request) -> Response:
        """End the session."""
        try:
            visit = await self._ground.visits.current(request)
            response = RedirectResponse(url_of(request, "sign_in"), status_code=303, headers=page_headers())
            if visit is not None:
                let_in(request, visit)
                form = await read_form(request)
                is_ours = is_from_here(request.headers, public_url=self._ground.public_url)
                if not is_ours or not is_csrf_of(visit.session_id, form["csrf"]):
                    return await self._ground.trouble(request, 403, STALE_FORM)
                await self._ground.visits.end(request)
            self._ground.visits.forget(request, response)
            return response
        except Exception as error:
            return await self._ground.trouble_for(request, error)

    async def _wrong(self, request: Request, onward: str) -> Response:
        wait = self._limiter.count(client_address(request.scope, self._trusted_proxies))
        if wait is None:
            problem = "that is no valid key of this receiver: wrong, revoked or expired"
            return await self._form(request, onward=onward, problem=problem, status=401)
        seconds = max(1, math.ceil(wait))
        problem = f"too many wrong keys from your address: try again in {seconds} s"
        response = await self._form(request, onward=onward, problem=problem, status=429)
        response.headers["retry-after"] = str(seconds)
        return response

    async def _form(self, request: Request, *, onward: str, problem: str | None = None, status: int = 200) -> Response:
        before = self._before(request) or secrets.token_urlsafe(24)
        response = await self._ground.pages.show(
            request,
            "sign_in.html",
            status=status,
            problem=problem,
            onward=onward if is_next(onward) else "",
            csrf=csrf_of(before),
            kept_in=self._kept_in,
        )
        response.set_cookie(
            _BEFORE,
            self._tokens.mint_for(_PURPOSE, before.encode()),
            path=cookie_path(request),
            secure=self._is_secure,
            httponly=True,
            samesite="strict",
        )
        return response

    def _is_ours(self, request: Request, form: Form) -> bool:
        """Whether the form was on a page that this browser had of us: nobody is signed in by another's page."""
        before = self._before(request)
        if before is None or not is_from_here(request.headers, public_url=self._ground.public_url):
            return False
        return is_csrf_of(before, form["csrf"])

    def _before(self, request: Request) -> str | None:
        try:
            return self._tokens.read_for(_PURPOSE, request.cookies.get(_BEFORE, "")).decode("ascii")
        except (VerificationError, UnicodeDecodeError):
            return None

    def _onward(self, request: Request, onward: str) -> Response:
        target = prefix_of(request) + (onward if is_next(onward) else "/")
        return RedirectResponse(target, status_code=303, headers=page_headers())


def is_next(text: str) -> bool:
    """Whether this is a path of our own: never another host, whatever a browser makes of slashes and backslashes."""
    return len(text) <= _LONGEST_NEXT and _NEXT.fullmatch(text) is not None
