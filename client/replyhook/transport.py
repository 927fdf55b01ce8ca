"""The library's one door to the network: sends plain requests and turns httpx's failures into ours.

Each class exists twice, plain and async, and holds nothing but the sending; what to send and what an answer means is
decided in ``flows`` and ``watching``, once.
"""

import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from replyhook.errors import InvalidRequest, ReplyhookError, UnreadableMessage
from replyhook.jobs import SourceKind, VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.saving import PartFile
from replyhook.urls import shown_url

# httpx logs whole URLs at INFO, and ours hold tokens and signed links.
logging.getLogger("httpx").setLevel(logging.WARNING)

OnProgress = Callable[[int, int | None], None]
"""Told of a download: the bytes so far, and how many it will be, where that is known."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_STREAM_SILENCE_SECONDS = 45.0  # the receiver pings every 15
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
    httpx.LocalProtocolError,
)


class ConnectionTrouble(ReplyhookError):
    """A request got no answer. ``maybe_sent`` is False only when it certainly never left."""

    retryable = True

    def __init__(self, error: Exception) -> None:
        self.maybe_sent = not isinstance(error, _NEVER_SENT)
        super().__init__(f"{type(error).__name__}: {error}")


class Transport:
    """Sends requests and reads answers, streams and videos; for the plain client."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._http = httpx.Client(timeout=timeout_seconds)

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def send(self, request: HTTPRequest) -> HTTPResponse:
        """The answer to one request. Raises ``ConnectionTrouble``; ``InvalidRequest`` when a source cannot be read."""
        opened = self._opened(request.upload) if request.form is None else _opened_part(request.upload)
        with opened as (content, length):
            try:
                with self._http.stream(**_arguments(request, content, length)) as response:
                    body = bytearray()
                    for chunk in response.iter_bytes():
                        _grow(body, chunk)
                    return _plain(response, bytes(body))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ConnectionTrouble(error) from error

    @contextmanager
    def _opened(self, source: VideoSource | None) -> Iterator[tuple[Iterable[bytes] | bytes, int | None]]:
        with _blaming(source):
            if source is None or source.kind is SourceKind.DATA:
                yield (source.data if source else b""), None
            elif source.kind is SourceKind.FILE:
                with Path(source.text).open("rb") as file:
                    yield iter(lambda: file.read(_CHUNK_BYTES), b""), os.fstat(file.fileno()).st_size
            else:
                with self._http.stream("GET", source.text, follow_redirects=True) as response:
                    yield _fetched(source, response), _source_length(source, response)

    def events(self, request: HTTPRequest, *, seconds: float) -> Generator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, for ``seconds``; or the answer that refuses the stream.

        Raises ``ConnectionTrouble``, also when the time is over.
        """
        try:
            with self._http.stream(**_arguments(request), timeout=_stream_timeout(seconds)) as response:
                if response.status_code != 200:
                    yield _plain(response, response.read())
                    return
                response.stream = _UntilTime(response.stream, seconds)
                yield from EventSource(response).iter_sse()
        except (httpx.HTTPError, SSEError) as error:
            raise ConnectionTrouble(error) from error

    def download(self, request: HTTPRequest, path: Path, on_progress: OnProgress | None = None) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            with self._http.stream(**_arguments(request), follow_redirects=True) as response:
                if response.status_code != 200:
                    return _plain(response, response.read())
                total = _length(response)
                with PartFile(path) as part:
                    for chunk in response.iter_bytes(_CHUNK_BYTES):
                        part.write(chunk)
                        if on_progress is not None:
                            on_progress(part.size, total)
                    part.keep(_promised(response))
                return _plain(response, b"")
        except httpx.HTTPError as error:
            raise ConnectionTrouble(error) from error


class AsyncTransport:
    """Sends requests and reads answers, streams and videos; for the async client."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._http = httpx.AsyncClient(timeout=timeout_seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """The answer to one request. Raises ``ConnectionTrouble``; ``InvalidRequest`` when a source cannot be read."""
        opened = self._opened(request.upload) if request.form is None else _opened_part_async(request.upload)
        async with opened as (content, length):
            try:
                async with self._http.stream(**_arguments(request, content, length)) as response:
                    body = bytearray()
                    async for chunk in response.aiter_bytes():
                        _grow(body, chunk)
                    return _plain(response, bytes(body))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ConnectionTrouble(error) from error

    @asynccontextmanager
    async def _opened(
        self, source: VideoSource | None
    ) -> AsyncIterator[tuple[AsyncIterable[bytes] | bytes, int | None]]:
        with _blaming(source):
            if source is None or source.kind is SourceKind.DATA:
                yield (source.data if source else b""), None
            elif source.kind is SourceKind.FILE:
                with Path(source.text).open("rb") as file:  # noqa: ASYNC230 - the caller's own file, 256 KiB at a time
                    yield _file_chunks(file), os.fstat(file.fileno()).st_size
            else:
                async with self._http.stream("GET", source.text, follow_redirects=True) as response:
                    yield _fetched_async(source, response), _source_length(source, response)

    async def events(self, request: HTTPRequest, *, seconds: float) -> AsyncGenerator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, for ``seconds``; or the answer that refuses the stream.

        Raises ``ConnectionTrouble``, also when the time is over.
        """
        try:
            async with self._http.stream(**_arguments(request), timeout=_stream_timeout(seconds)) as response:
                if response.status_code != 200:
                    yield _plain(response, await response.aread())
                    return
                response.stream = _UntilTime(response.stream, seconds)
                async for event in EventSource(response).aiter_sse():
                    yield event
        except (httpx.HTTPError, SSEError) as error:
            raise ConnectionTrouble(error) from error

    async def download(self, request: HTTPRequest, path: Path, on_progress: OnProgress | None = None) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            async with self._http.stream(**_arguments(request), follow_redirects=True) as response:
                if response.status_code != 200:
                    return _plain(response, await response.aread())
                total = _length(response)
                with PartFile(path) as part:
                    async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                        part.write(chunk)
                        if on_progress is not None:
                            on_progress(part.size, total)
                    part.keep(_promised(response))
                return _plain(response, b"")
        except httpx.HTTPError as error:
            raise ConnectionTrouble(error) from error


def _arguments(request: HTTPRequest, content: Any = b"", length: int | None = None) -> dict[str, Any]:
    headers = dict(request.headers)
    arguments: dict[str, Any] = {"method": request.method, "url": request.url, "headers": headers}
    if request.fresh_id_header is not None:
        headers[request.fresh_id_header] = str(uuid.uuid4())
    if request.form is not None:
        parts: dict[str, Any] = {name: (None, value) for name, value in request.form.items()}
        if request.upload is not None:
            parts[request.upload_field] = ("video.mp4", content, "video/mp4")
        arguments["files"] = parts
    elif request.json is not None:
        arguments["json"] = request.json
    elif request.upload is not None:
        if length is not None:
            headers["content-length"] = str(length)
        arguments["content"] = content
    elif request.body is not None:
        arguments["content"] = request.body
    return arguments


def _plain(response: httpx.Response, body: bytes) -> HTTPResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers.setdefault("date", formatdate(usegmt=True))  # RFC 9110 §6.6.1: who receives an answer without it adds it
    return HTTPResponse(status=response.status_code, headers=headers, body=body)


def _promised(response: httpx.Response) -> dict[str, str]:
    """What the answer says of its body; where we were sent on to it, the digest is who sent us on's."""
    told = response.history[0].headers.get("x-target-digest") if response.history else None
    return dict(response.headers) | ({"repr-digest": told} if told else {})


def _grow(body: bytearray, chunk: bytes) -> None:
    body += chunk
    if len(body) > MAX_ANSWER_BYTES:
        raise UnreadableMessage(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")


def _source_length(source: VideoSource, response: httpx.Response) -> int | None:
    if response.status_code != 200:
        raise InvalidRequest("video", shown_url(source.text), f"it could not be fetched: HTTP {response.status_code}")
    return _length(response)


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and "content-encoding" not in response.headers else None


async def _file_chunks(file: Any) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


@contextmanager
def _opened_part(source: VideoSource | None) -> Iterator[tuple[Any, int | None]]:
    """A file or bytes as httpx wants them for a part of a form."""
    with _blaming(source), ExitStack() as stack:
        if source is not None and source.kind is SourceKind.FILE:
            yield stack.enter_context(Path(source.text).open("rb")), None
        else:
            yield (source.data if source else b""), None


@asynccontextmanager
async def _opened_part_async(source: VideoSource | None) -> AsyncIterator[tuple[Any, int | None]]:
    with _opened_part(source) as opened:
        yield opened


def _fetched(source: VideoSource, response: httpx.Response) -> Iterator[bytes]:
    with _blaming(source):
        yield from response.iter_bytes()


async def _fetched_async(source: VideoSource, response: httpx.Response) -> AsyncIterator[bytes]:
    with _blaming(source):
        async for chunk in response.aiter_bytes():
            yield chunk


@contextmanager
def _blaming(source: VideoSource | None) -> Iterator[None]:
    """A source that cannot be read is the caller's, not the provider's; its address is shown without its secrets."""
    try:
        yield
    except (httpx.HTTPError, OSError) as error:
        if source is None:
            raise
        raise InvalidRequest(
            "video", shown_url(source.text), f"it could not be read: {type(error).__name__}"
        ) from error


def _stream_timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(min(10.0, seconds), read=min(_STREAM_SILENCE_SECONDS, seconds))


class _UntilTime(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that ends with a time-out once ``seconds`` are over, however often the other side pings."""

    def __init__(self, inner: Any, seconds: float) -> None:
        self._inner = inner
        self._end = time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            yield self._in_time(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield self._in_time(chunk)

    def _in_time(self, chunk: bytes) -> bytes:
        if time.monotonic() > self._end:
            raise httpx.ReadTimeout("the time for this stream is over")
        return chunk

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()
