"""A flat JSON object as the URL query string a provider signs, in each way that the provider's own samples write it.

PixVerse signs ``name=value&…`` made from a callback's fields, and publishes four samples that disagree (PROVIDERS §2.2):
Python and Node keep the body's order, Go and Java sort; Python and Go keep ``~`` and escape ``*``, Node and Java the
other way round; null is ``None``, ``null`` or ``<nil>``; and each language writes numbers in its own way. Which of them
the real server agrees with is not published, so a few fixed forms are tried. Numbers count as the text they were sent
as, or as Python writes them; Node's, Go's and Java's own number texts are left out.
"""

import json
from typing import Any, NoReturn
from urllib.parse import quote_plus

from replyhook.errors import VerificationError

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


def query_forms(body: bytes) -> tuple[str, ...]:
    """Every query string that ``body`` may have been signed as: one to twelve, without repeats.

    Raises ``VerificationError`` for what has no such form: anything but an object of texts, numbers, booleans and
    nulls, an empty one, a name that comes twice, NaN, a number beyond any measure.
    """
    fields = _read(body)
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
    try:
        text = body.decode()  # json.loads would take UTF-16 and UTF-32 as well
        fields = json.loads(
            text, object_pairs_hook=_fields, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant
        )
        if isinstance(fields, dict):
            "".join((*fields, *filter(None, map(_as_text, fields.values())))).encode()  # half a surrogate pair has none
    except (ValueError, RecursionError) as error:
        raise VerificationError("the body is not JSON, so nobody signed it") from error
    if not isinstance(fields, dict) or not 0 < len(fields) <= _MAX_FIELDS:
        raise VerificationError("the body is not an object with fields, so nobody signed it")
    return fields


def _as_text(value: _Value) -> str:
    return value if isinstance(value, str) else ""


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
    raise VerificationError("NaN and Infinity are no JSON, so nobody signed them")
