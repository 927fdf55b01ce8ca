"""What an endpoint may be: the form of its URL, types, headers, secret, name and user. All raise ``InvalidRequest``."""

import re
from collections.abc import Mapping, Sequence

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook.jobs import is_clean
from replyhook.notifications import NotificationType
from replyhook.signatures import standard_webhooks_key
from replyhook.urls import shown_url

WEBHOOK, EMAIL, APPRISE = "webhook", "email", "apprise"
MAX_URL_LENGTH = 2048
"""Of an address, in bytes: it stands in keys of indexes, and PostgreSQL's hold 2,704 of them at most."""
MAX_HEADERS = 20
MAX_HEADER_LENGTH = 1024
MAX_NAME_LENGTH = 100
MAX_USER_LENGTH = 256

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
MAX_CHANNEL_LENGTH = 32
_CHANNEL = re.compile(rf"[a-z][a-z0-9_-]{{0,{MAX_CHANNEL_LENGTH - 1}}}")
# What belongs to the connection, to the message's framing, or to us.
_RESERVED_HEADERS = {
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "date", "expect",
    "forwarded", "host", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
    "via",
}  # fmt: skip
_RESERVED_PREFIXES = ("webhook-", "proxy-", "sec-", ":")


def checked_url(url: str, *, field: str = "url") -> str:
    """A URL that is short enough and holds nothing invisible. What it may lead to is the channel's to say."""
    if not 0 < len(url.encode("utf-8", "replace")) <= MAX_URL_LENGTH or not url.isprintable() or " " in url:
        allowed = f"a URL of at most {MAX_URL_LENGTH} bytes without spaces and control characters"
        raise InvalidRequest(field, shown_url(url), allowed)
    return url


def checked_channel(channel: str | None, url: str, *, field: str = "channel") -> str:
    """A channel's name, by its form; the one that goes without saying where none is named."""
    if channel is None:
        return EMAIL if url[:7].lower() == "mailto:" else WEBHOOK
    if not _CHANNEL.fullmatch(channel):
        raise InvalidRequest(field, channel, f"{WEBHOOK}, {EMAIL}, or the name of another channel")
    return channel


def checked_types(types: Sequence[str], *, field: str = "types") -> tuple[NotificationType, ...]:
    """The types that are asked for; none means all but progress."""
    known = {kind.value for kind in NotificationType}
    unknown = [kind for kind in types if kind not in known]
    if unknown:
        raise InvalidRequest(field, unknown[0], f"one of {', '.join(sorted(known))}")
    return tuple(NotificationType(kind) for kind in dict.fromkeys(types))


def checked_headers(headers: Mapping[str, str], *, field: str = "headers") -> dict[str, str]:
    """Headers to be sent with each notification. The message never holds a value: it may be a password."""
    if len(headers) > MAX_HEADERS:
        raise InvalidRequest(field, f"{len(headers)} headers", f"at most {MAX_HEADERS}")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidRequest(field, name, "names of 1 to 64 letters, digits and dashes")
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith(_RESERVED_PREFIXES):
            raise InvalidRequest(field, name, "any header but those of the connection, the body and webhook-*")
        if len(value) > MAX_HEADER_LENGTH or not _HEADER_VALUE.fullmatch(value):
            allowed = f"1 to {MAX_HEADER_LENGTH} visible ASCII characters, without line ends and spaces around them"
            raise InvalidRequest(f"{field}.{name}", "(not shown)", allowed)
    if len({name.lower() for name in headers}) != len(headers):
        raise InvalidRequest(field, sorted(headers), "each header once")
    return dict(headers)


def checked_secret(secret: str, *, field: str = "secret") -> str:
    """A ``whsec_…`` secret. The message never holds it."""
    try:
        standard_webhooks_key(secret)
    except ConfigurationError as error:
        raise InvalidRequest(field, "(not shown)", str(error)) from None
    return secret


def checked_name(name: str, *, field: str = "name") -> str:
    """What people call it."""
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise InvalidRequest(field, name, f"a text of 1 to {MAX_NAME_LENGTH} characters on one line")
    return name


def checked_user(user: str, *, field: str = "user") -> str:
    """Whose jobs it hears of."""
    if not 0 < len(user) <= MAX_USER_LENGTH or not is_clean(user):
        raise InvalidRequest(field, user, f"a text of 1 to {MAX_USER_LENGTH} characters, no control characters")
    return user


def shown_endpoint_url(channel: str, url: str) -> str:
    """An endpoint's URL without what may be secret in it: chat services keep their tokens anywhere in theirs."""
    if channel == EMAIL:
        return url
    if channel != WEBHOOK:
        scheme, is_there, _ = url.partition(":")
        return f"{scheme[:MAX_CHANNEL_LENGTH]}:…" if is_there else "…"
    # Chat services' webhooks have it in the path; what is short there is a word, not a token.
    return "/".join(
        part if place < 3 or len(part) < 16 else "…" for place, part in enumerate(shown_url(url).split("/"))
    )
