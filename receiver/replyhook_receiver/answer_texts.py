"""What is kept of the words of an answer: their start, without secrets."""

import re
from collections.abc import Iterable

from replyhook.urls import shown_url

KEPT_BYTES = 1024
_HIDDEN = "(hidden)"
_SHORTEST_SECRET = 6
_SECRETS = re.compile(
    r"whsec_[A-Za-z0-9+/=_\\%-]+|v1a?,[A-Za-z0-9+/=\\%]{16,}|(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
)
_URLS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://[^\s\"'<>\\]+")


def kept_text(body: bytes, *, secrets: Iterable[str] = ()) -> str:
    """The first KB of an answer without what it may give away: ``secrets``, signatures, what URLs hold after the path.

    An endpoint may well send back all that it was sent.
    """
    text = body.decode("utf-8", "replace")
    # Longest first: one may be a part of another.
    for secret in sorted({each for each in secrets if len(each) >= _SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _SECRETS.sub(_HIDDEN, _URLS.sub(lambda found: shown_url(found[0]), text))
    return text.encode()[:KEPT_BYTES].decode("utf-8", "ignore")
