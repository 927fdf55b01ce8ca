"""The library's one door to the network: sends plain requests and turns httpx's failures into ours.

Each class exists twice, plain and async, and holds nothing but the sending; what to send and what an answer means is
decided in ``flows`` and ``watching``, once.
"""

import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from replyhook.errors import InvalidRequest, ReplyhookError, UnreadableMessage
from replyhook.jobs import SourceKind, VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.saving import PartFile

# httpx logs whole URLs at INFO, and ours hold tokens and signed links.
logging.getLogger("httpx").setLevel(logging.WARNING)

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
        with self._opened(request.upload) as (content, length):
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
        if source is None or source.kind is SourceKind.DATA:
            yield (source.data if source else b""), None
        elif source.kind is SourceKind.FILE:
            with Path(source.text).open("rb") as file:
                yield iter(lambda: file.read(_CHUNK_BYTES), b""), os.fstat(file.fileno()).st_size
        else:
            try:
                with self._http.stream("GET", source.text, follow_redirects=True) as response:
                    yield response.iter_bytes(), _source_length(source, response)
            except httpx.HTTPError as error:
                raise InvalidRequest("video", _shown(source.text), f"it could not be fetched: {error}") from error

    def events(self, request: HTTPRequest) -> Iterator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, or the answer that refuses the stream. Raises ``ConnectionTrouble``."""
        timeout = httpx.Timeout(10.0, read=_STREAM_SILENCE_SECONDS)
        try:
            with self._http.stream(**_arguments(request), timeout=timeout) as response:
                if response.status_code != 200:
                    yield _plain(response, response.read())
                    return
                yield from EventSource(response).iter_sse()
        except (httpx.HTTPError, SSEError) as error:
            raise ConnectionTrouble(error) from error

    def download(self, request: HTTPRequest, path: Path) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            with self._http.stream(**_arguments(request)) as response:
                if response.status_code != 200:
                    return _plain(response, response.read())
                with PartFile(path) as part:
                    for chunk in response.iter_raw(_CHUNK_BYTES):
                        part.write(chunk)
                    part.keep(response.headers)
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
        async with self._opened(request.upload) as (content, length):
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
        if source is None or source.kind is SourceKind.DATA:
            yield (source.data if source else b""), None
        elif source.kind is SourceKind.FILE:
            with Path(source.text).open("rb") as file:  # noqa: ASYNC230 - the caller's own file, 256 KiB at a time
                yield _file_chunks(file), os.fstat(file.fileno()).st_size
        else:
            try:
                async with self._http.stream("GET", source.text, follow_redirects=True) as response:
                    yield response.aiter_bytes(), _source_length(source, response)
            except httpx.HTTPError as error:
                raise InvalidRequest("video", _shown(source.text), f"it could not be fetched: {error}") from error

    async def events(self, request: HTTPRequest) -> AsyncIterator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, or the answer that refuses the stream. Raises ``ConnectionTrouble``."""
        timeout = httpx.Timeout(10.0, read=_STREAM_SILENCE_SECONDS)
        try:
            async with self._http.stream(**_arguments(request), timeout=timeout) as response:
                if response.status_code != 200:
                    yield _plain(response, await response.aread())
                    return
                async for event in EventSource(response).aiter_sse():
                    yield event
        except (httpx.HTTPError, SSEError) as error:
            raise ConnectionTrouble(error) from error

    async def download(self, request: HTTPRequest, path: Path) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            async with self._http.stream(**_arguments(request)) as response:
                if response.status_code != 200:
                    return _plain(response, await response.aread())
                with PartFile(path) as part:
                    async for chunk in response.aiter_raw(_CHUNK_BYTES):
                        part.write(chunk)
                    part.keep(response.headers)
                return _plain(response, b"")
        except httpx.HTTPError as error:
            raise ConnectionTrouble(error) from error


def _arguments(request: HTTPRequest, content: Any = b"", length: int | None = None) -> dict[str, Any]:
    headers = dict(request.headers)
    arguments: dict[str, Any] = {"method": request.method, "url": request.url, "headers": headers}
    if request.json is not None:
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
    return HTTPResponse(status=response.status_code, headers=headers, body=body)


def _grow(body: bytearray, chunk: bytes) -> None:
    body += chunk
    if len(body) > MAX_ANSWER_BYTES:
        raise UnreadableMessage(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")


def _source_length(source: VideoSource, response: httpx.Response) -> int | None:
    if response.status_code != 200:
        raise InvalidRequest("video", _shown(source.text), f"it could not be fetched: HTTP {response.status_code}")
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and "content-encoding" not in response.headers else None


async def _file_chunks(file: Any) -> AsyncIterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _shown(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl()
