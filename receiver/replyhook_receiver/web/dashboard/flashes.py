"""A word about what was just done, shown once on the next page: in a signed cookie, for a minute."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from replyhook.errors import InvalidRequest, VerificationError
from replyhook.tokens import TokenKeys
from replyhook_receiver.web.dashboard.visits import cookie_path

_COOKIE = "replyhook_flash"
_PURPOSE = "dashboard-flash"
_LONGEST = 300
_SECONDS = 60


class Flash(msgspec.Struct, frozen=True):
    """What was done, or why it was not."""

    text: str
    is_good: bool = True


class Flashes:
    """Sets and takes them."""

    def __init__(self, *, tokens: TokenKeys, is_secure: bool) -> None:
        self._tokens = tokens
        self._is_secure = is_secure

    def set(self, request: Request, response: Response, text: str, *, is_good: bool = True) -> None:
        """Show it on the next page."""
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        content = msgspec.json.encode(Flash(shown.encode("utf-8", "replace").decode(), is_good))
        try:
            value = self._tokens.mint_for(_PURPOSE, content)
        except InvalidRequest:  # longer than a token may be, since every letter of it takes six
            value = self._tokens.mint_for(_PURPOSE, msgspec.json.encode(Flash("done" if is_good else "no", is_good)))
        response.set_cookie(
            _COOKIE,
            value,
            max_age=_SECONDS,
            path=cookie_path(request),
            secure=self._is_secure,
            httponly=True,
            samesite="lax",
        )

    def read(self, request: Request) -> Flash | None:
        """The word that waits, if there is one of ours."""
        try:
            content = self._tokens.read_for(_PURPOSE, request.cookies.get(_COOKIE, ""))
            return msgspec.json.decode(content, type=Flash)
        except (VerificationError, msgspec.DecodeError):
            return None

    def clear(self, request: Request, response: Response) -> None:
        """It was shown."""
        response.delete_cookie(_COOKIE, path=cookie_path(request))
