"""The three HTTP messages that providers are made of: plain values, comparable, with nothing sent."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from replyhook.errors import ConfigurationError, UnreadableMessage, VerificationError
from replyhook.jobs import VideoSource
from replyhook.urls import http_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPRequest:
    """A request for somebody else to send. At most one of ``json``, ``body``, ``form`` and ``upload`` is the body.

    ``upload`` means: the body is this video's bytes; with ``form`` (multipart fields) they are its part called
    ``upload_field``, with ``upload_frame`` they stand in base64 between its two texts. A video over
    ``max_upload_bytes`` is not to be sent. ``fresh_id_header`` names a header that whoever sends this fills with a new
    UUID each time.
    Headers, query and body hold secrets and personal ids, so ``repr`` shows the method and the host alone.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    body: bytes | None = None
    upload: VideoSource | None = None
    form: Mapping[str, str] | None = None
    upload_field: str = "file"
    upload_frame: tuple[str, str] | None = None
    max_upload_bytes: int | None = None
    fresh_id_header: str | None = None

    def __repr__(self) -> str:
        parts = http_parts(self.url)
        where = f"{parts.scheme}://{parts.hostname}/…" if parts else "(not a URL)"
        return f"<HTTPRequest {self.method} {where}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPResponse:
    """An answer with its whole body. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> Any:
        """The body as JSON. Raises ``UnreadableMessage`` when it is none."""
        return read_json(self.body)

    def object_or_none(self) -> dict[str, Any] | None:
        """The body as a JSON object, or None where it is none: for what a refusal may say besides its status."""
        try:
            return as_object(self.json())
        except UnreadableMessage:
            return None

    @property
    def retry_after(self) -> timedelta | None:
        """How long the other side asks to wait: in seconds, or until a time, counted by its own clock (``Date``)."""
        text = self.headers.get("retry-after", "")
        if text.isascii() and text.isdecimal():
            return timedelta(seconds=int(text)) if len(text) < 7 else None
        until, now = _http_date(text), _http_date(self.headers.get("date", ""))
        return max(until - now, timedelta()) if until and now else None


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request from a provider, exactly as it came.

    ``headers`` keeps order, repeats and every byte (as Latin-1); names are lower case.
    """

    provider: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_at: datetime

    def __repr__(self) -> str:
        return f"<Callback {self.provider} {self.received_at}>"

    def header(self, name: str) -> str | None:
        """The value of a header without spaces around it (RFC 9110 §5.5), or None.

        Raises ``VerificationError`` when it was sent more than once.
        """
        return self.single_headers((name,)).get(name)

    def single_headers(self, names: Container[str]) -> dict[str, str]:
        """Those of the headers called ``names`` that were sent, each as ``header`` gives it. Raises the same."""
        found: dict[str, str] = {}
        for name, value in self.headers:
            if name in names:
                if name in found:
                    raise VerificationError(f"the header {name} was sent more than once")
                found[name] = value.strip(" \t")
        return found

    def json(self) -> Any:
        """The body as JSON. Raises ``UnreadableMessage`` when it is none."""
        return read_json(self.body)


def _http_date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)  # the oldest of the three forms names no zone


def read_json(body: bytes) -> Any:
    """JSON from bytes; ``UnreadableMessage`` for everything that is none, however it is broken."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableMessage(f"the body is not JSON ({len(body)} bytes)") from error


def as_object(value: Any) -> dict[str, Any]:
    """``value`` when it is a JSON object; else ``UnreadableMessage``."""
    if not isinstance(value, dict):
        raise UnreadableMessage(f"a JSON object was expected, {type(value).__name__} came")
    return value


def check_header_value(secret: str, *, what: str) -> None:
    """Raise ``ConfigurationError`` when no header can carry ``secret``; most often it was read with its line end."""
    if not secret.isascii() or any(ord(letter) <= 32 or ord(letter) == 127 for letter in secret):
        raise ConfigurationError(f"{what} holds a character that no header can carry: a line end, a space, an accent?")


def text_or_none(value: Any) -> str | None:
    """``value`` when it is a text with something in it."""
    return value if isinstance(value, str) and value else None
