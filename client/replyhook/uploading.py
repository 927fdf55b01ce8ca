"""How a video's bytes become the body of a request: whole, as a part of a form, or as base64 in a frame of text."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from replyhook.errors import InvalidRequest
from replyhook.jobs import SourceKind, VideoSource
from replyhook.local_video import OnUpload, VideoReader, opened_video
from replyhook.messages import HTTPRequest
from replyhook.urls import shown_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What to send, and how long it is, where that is known and nobody else finds out."""

    content: Any
    length: int | None = None


@contextmanager
def local_body(request: HTTPRequest, on_upload: OnUpload | None, *, is_async: bool) -> Iterator[Body]:
    """The body that a file or bytes make; an empty one where nothing is uploaded.

    Raises ``InvalidRequest`` for what cannot be read or is too large.
    """
    source = request.upload
    if source is None:
        yield Body(content=b"")
        return
    opened = opened_video(path=source.text, file=source.opened, data=source.data, mark=source.mark, on_upload=on_upload)
    with opened as reader:
        check_size(source, reader.size_bytes, request.max_upload_bytes)
        if request.form is not None:
            yield Body(content=reader)
        else:
            chunks, length = _framed(reader, request.upload_frame)
            yield Body(content=_later(chunks) if is_async else chunks, length=length)


class Passage:
    """Counts the bytes of a video that is fetched and sent on at once, and says when they are too many."""

    def __init__(self, request: HTTPRequest, size_bytes: int | None, on_upload: OnUpload | None) -> None:
        self._source = request.upload or VideoSource(kind=SourceKind.URL)
        self._most = request.max_upload_bytes
        self._on_upload = on_upload
        self._sent = 0
        self._size = size_bytes
        check_size(self._source, size_bytes, self._most)

    def sent(self, count: int) -> None:
        """So many more have been sent, or would be."""
        self._sent += count
        check_size(self._source, self._sent, self._most)
        if self._on_upload is not None:
            self._on_upload(self._sent, self._size)


def check_size(source: VideoSource, size_bytes: int | None, most: int | None, *, provider: str | None = None) -> None:
    """Raise ``InvalidRequest`` for a video that is too large."""
    if size_bytes is not None and most is not None and size_bytes > most:
        shown = shown_url(source.text) if source.kind is SourceKind.URL else f"{size_bytes} bytes"
        raise InvalidRequest("video", shown, f"at most {most} bytes", provider=provider)


def _framed(reader: VideoReader, frame: tuple[str, str] | None) -> tuple[Iterator[bytes], int]:
    if frame is None:
        return reader.chunks(), reader.size_bytes
    before, after = (text.encode() for text in frame)

    def pieces() -> Iterator[bytes]:
        yield before
        for chunk in reader.chunks():
            yield base64.b64encode(chunk)
        yield after

    return pieces(), len(before) + -(-reader.size_bytes // 3) * 4 + len(after)


async def _later(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
