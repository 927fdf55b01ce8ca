"""What is remembered of a video that has come in part, so that the rest alone can be asked for. Pure."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

import msgspec

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,18})")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,256}"')  # what else might stand there could not be sent back
_SETTLED = timedelta(seconds=1)


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes a part holds the beginning of: the link without its query (hashed), the validator, the length."""

    link: str
    validator: str
    length: int | None = None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str]) -> "Mark | None":
        """The mark of an answer, or None where it has nothing by which the same bytes could be asked for again."""
        validator = _validator(headers)
        if validator is None:
            return None
        return cls(link=_link(url), validator=validator, length=announced_length(headers))

    @classmethod
    def read(cls, note: bytes, url: str) -> "Mark | None":
        """The mark in ``note``, if it is of this link."""
        try:
            mark = msgspec.json.decode(note, type=cls)
        except msgspec.MsgspecError:
            return None
        return mark if mark.link == _link(url) else None

    def as_note(self) -> bytes:
        """To be kept with the part."""
        return msgspec.json.encode(self)

    def asks_from(self, offset: int) -> dict[str, str]:
        """The headers that ask for the rest, if it is still the rest of the same."""
        return {"range": f"bytes={offset}-", "if-range": self.validator}

    def length_of_all(self, headers: Mapping[str, str]) -> int | None:
        """The length of the whole, as it was announced first or as a 206 says it."""
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        return int(found[3]) if self.length is None and found and found[3] != "*" else self.length

    def is_continued_by(self, headers: Mapping[str, str], offset: int) -> bool:
        """Whether a 206 holds what follows ``offset`` bytes, up to the end, of the very same."""
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or int(found[1]) != offset:
            return False
        total = None if found[3] == "*" else int(found[3])
        reaches_end = total is None or int(found[2]) == total - 1
        same_length = total is None or self.length in (None, total)
        validator = _validator(headers)
        return reaches_end and same_length and validator in (None, self.validator)

    def is_whole_at(self, headers: Mapping[str, str], size: int) -> bool:
        """Whether a 416 says that there is no more than the ``size`` bytes that are here."""
        found = _UNSATISFIED.fullmatch(headers.get("content-range", ""))
        return found is not None and int(found[1]) == size and self.length == size


def announced_length(headers: Mapping[str, str]) -> int | None:
    """The length of the whole, as an answer of 200 says it; a huge one is as good as any number of digits."""
    text = headers.get("content-length", "")
    return int(text[:18]) if text.isascii() and text.isdecimal() else None


def _link(url: str) -> str:
    return hashlib.sha256(url.partition("#")[0].partition("?")[0].encode("utf-8", "surrogatepass")).hexdigest()


def _validator(headers: Mapping[str, str]) -> str | None:
    """What may stand in If-Range: a strong ETag, else a date of change that the next change cannot share (RFC 9110)."""
    etag = headers.get("etag", "")
    if _STRONG_ETAG.fullmatch(etag):
        return etag
    try:
        changed, answered = (parsedate_to_datetime(headers.get(name, "")) for name in ("last-modified", "date"))
        return format_datetime(changed, usegmt=True) if answered - changed >= _SETTLED else None
    except (ValueError, TypeError):
        return None
