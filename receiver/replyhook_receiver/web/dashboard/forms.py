"""What a browser posts: small forms, from our own pages only."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from replyhook_receiver.web.models import read_body

MAX_FORM_BYTES = 64 * 1024
_MAX_FIELDS = 200


class Form:
    """The fields of a form; one that was not sent is empty."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return next((value for known, value in self._fields if known == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field that may be sent more than once."""
        return [value for known, value in self._fields if known == name]

    def given(self, name: str) -> str | None:
        """A field without the blanks around it; None where nothing is left."""
        return self[name].strip() or None


async def read_form(request: Request) -> Form:
    """The form of a request; it may be read more than once. Raises a 415 or 400 for what is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "this takes the form of its page: application/x-www-form-urlencoded")
    body = await read_body(request)
    try:
        text = body.decode("ascii")
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace"))
    except ValueError as error:
        raise HTTPException(400, "this is no form that a page of ours sends") from error


def is_from_here(headers: Mapping[str, str], *, public_url: str) -> bool:
    """Whether a page of ours sent this, as far as the browser says; the form's own token is asked for besides.

    A browser says it in ``Sec-Fetch-Site``, an older one in ``Origin``. What says neither is no browser's doing.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        host = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(host) and host in (headers.get("host", "").lower(), urlsplit(public_url).netloc.lower())
