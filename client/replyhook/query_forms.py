"""The HMAC of a flat JSON object as a URL query string, in each way that a provider's own samples write that string.

PixVerse signs ``name=value&…`` made from a callback's fields and publishes four samples that disagree (PROVIDERS
§2.2): Python and Node keep the body's order, Go and Java sort; Python and Go keep ``~`` and escape ``*``, Node and Java
the other way round; null is ``None``, ``null`` or ``<nil>``; each writes numbers as its language does. With which of
them the real server agrees is not published, so a few fixed forms are tried. Numbers count as the text that was sent,
or as Python writes it; the number texts of Node, Go and Java are left out.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote_plus

from replyhook.errors import NoMatchingKey, VerificationError

_MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 64
_MAX_NUMBER_LENGTH = 64


class _Number(str):
    """A number as the very text it was sent as."""

    __slots__ = ()

    @property
    def as_python(self) -> str:
        is_whole = self.removeprefix("-").isdecimal()
        return str(int(self)) if is_whole else str(float(self))


_Value = str | bool | None  # a number is a text of its own kind


def check_form_signature(body: bytes, *, head: str, signature: str, secrets: Iterable[str]) -> None:
    """Check ``signature`` (Base64, HMAC-SHA256) over ``head`` and any form of ``body``, by any of ``secrets``.

    Raises ``VerificationError`` for a body that has no form, ``NoMatchingKey`` when no secret made the signature.
    """
    messages = [f"{head}{form}".encode() for form in query_forms(body)]
    given = signature.encode(errors="surrogatepass")
    matches = False
    for secret in filter(None, secrets):  # an empty one is nobody's, or everybody's
        for message in messages:
            mac = hmac.new(secret.encode(errors="surrogatepass"), message, hashlib.sha256)
            matches |= hmac.compare_digest(base64.b64encode(mac.digest()), given)
    if not matches:
        raise NoMatchingKey("no secret at hand made this signature")


def query_forms(body: bytes) -> tuple[str, ...]:
    """Every query string that ``body`` may have been signed as: one to twelve, without repeats.

    Raises ``VerificationError`` for what has no such form: anything but an object of texts, numbers, booleans and
    nulls, an empty one, a name that comes twice, NaN, a number beyond any measure.
    """
    try:
        return _forms(_read(body))
    except (ValueError, RecursionError) as error:  # half a surrogate pair fails only when it is to become bytes
        raise VerificationError("the body is not JSON, so nobody signed it") from error


def _forms(fields: dict[str, _Value]) -> tuple[str, ...]:
    forms: dict[str, None] = {}
    for pairs in (list(fields.items()), sorted(fields.items())):
        for null, as_python in (("null", False), ("<nil>", False), ("None", True)):
            query = "&".join(f"{quote_plus(name)}={quote_plus(_text(value, null, as_python))}" for name, value in pairs)
            forms[query] = None
            forms[query.replace("~", "%7E").replace("%2A", "*")] = None
    return tuple(forms)


def _text(value: _Value, null: str, as_python: bool) -> str:
    match value:
        case None:
            return null
        case bool():
            return "true" if value else "false"
        case _Number():
            return value.as_python if as_python else str(value)
        case _:
            return value


def _read(body: bytes) -> dict[str, _Value]:
    if len(body) > _MAX_BODY_BYTES:
        raise VerificationError("the body is too large to have been signed")
    text = body.decode()  # json.loads itself would take UTF-16 and UTF-32 as well
    fields = json.loads(
        text, object_pairs_hook=_fields, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant
    )
    if not isinstance(fields, dict) or not 0 < len(fields) <= _MAX_FIELDS:
        raise VerificationError("the body is not an object with fields, so nobody signed it")
    return fields


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, _Value]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise VerificationError("a name comes twice in the body, so what was signed is not certain")
    if any(isinstance(value, dict | list) for value in fields.values()):
        raise VerificationError("the body holds values inside values, which have no signed form")
    return fields


def _number(text: str) -> _Number:
    if len(text) > _MAX_NUMBER_LENGTH or float(text) in (float("inf"), float("-inf")):
        raise VerificationError("a number in the body is beyond any measure")
    return _Number(text)


def _refuse_constant(text: str) -> NoReturn:
    raise VerificationError(f"{text} is no JSON, so nobody signed it")
