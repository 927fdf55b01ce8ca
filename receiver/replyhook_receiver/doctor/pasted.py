"""Reading a callback that somebody pasted: a whole HTTP request, or its headers and its body apart."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from replyhook.errors import ConfigurationError

_REQUEST_LINE = re.compile(r"[A-Z]{3,8} (\S+)( HTTP/[0-9.]+)?")
_CALLBACK_PATH = re.compile(r"/callbacks/([^/?#]+)/([^/?#]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """A request as far as it is known. Header names are lower case."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(default="", repr=False)


def read_request(content: bytes) -> Pasted:
    """A request: perhaps its first line, its headers, an empty line, its body. Raises ``ConfigurationError``."""
    head, gap, body = content.partition(b"\r\n\r\n")
    before = content.partition(b"\n\n")
    if not gap or len(before[0]) < len(head):
        head, gap, body = before
    if not gap:
        raise ConfigurationError("no empty line between headers and body: paste the request whole, or use --headers")
    first, _, rest = head.decode("latin-1").lstrip().partition("\n")
    line = _REQUEST_LINE.fullmatch(first.strip())
    return Pasted(
        headers=read_headers(rest.encode("latin-1") if line else head), body=body, url=line[1] if line else ""
    )


def read_headers(content: bytes) -> tuple[tuple[str, str], ...]:
    """Headers as lines, or as JSON: an object, or a list of pairs. Raises ``ConfigurationError``."""
    if content.lstrip()[:1] in (b"{", b"["):
        return _from_json(content)
    found = []
    for line in content.decode("latin-1").splitlines():
        name, colon, value = line.removeprefix("< ").removeprefix("> ").partition(":")
        if line.strip() and (not colon or not name.strip() or " " in name.strip()):
            raise ConfigurationError("a header is a line such as `webhook-timestamp: 1790000000`; one line is none")
        if colon:
            found.append((name.strip().lower(), value.strip()))
    return tuple(found)


def token_in(url: str) -> tuple[str, str] | None:
    """The provider and the token of a reply URL, or None where it is none."""
    path = urlsplit(url).path
    found = _CALLBACK_PATH.search(path)
    return (found[1], found[2]) if found else None


def _from_json(content: bytes) -> tuple[tuple[str, str], ...]:
    try:
        read = msgspec.json.decode(content)
        pairs = read.items() if isinstance(read, dict) else [(name, value) for name, value in read]
        return tuple(
            (str(name).lower(), str(each))
            for name, value in pairs
            for each in (value if isinstance(value, list) else [value])
        )
    except (msgspec.DecodeError, ValueError, TypeError):
        words = 'headers in JSON are an object, {"name": "value"}, or a list of pairs'
        raise ConfigurationError(words) from None
