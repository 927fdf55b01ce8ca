"""The library's one door to the network: sends plain requests and turns httpx's failures into ours.

Each class exists twice, plain and async, and holds nothing but the sending; what to send and what an answer means is
decided in ``flows`` and ``watching``, once.
"""

import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from replyhook.certificates import certificates
from replyhook.errors import InvalidRequest, UnreadableMessage
from replyhook.jobs import SourceKind, VideoSource
from replyhook.local_video import OnUpload
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.saving import PartFile
from replyhook.timing import UntilTime, stream_timeout
from replyhook.trouble import ConnectionTrouble, Elsewhere
from replyhook.uploading import Body, Passage, local_body
from replyhook.urls import shown_url

# httpx logs whole URLs at INFO, and ours hold tokens and signed links.
logging.getLogger("httpx").setLevel(logging.WARNING)

OnProgress = Callable[[int, int | None], None]
"""Told of a download: the bytes so far, and how many it will be, where that is known."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_NOTHING = Body(content=b"")
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
    httpx.LocalProtocolError,
)


def _trouble(error: Exception, request: HTTPRequest | None = None) -> ConnectionTrouble:
    """What it is for others; of a ``request`` that was led elsewhere, whose trouble it was."""
    is_another = False
    if request is not None and isinstance(error, httpx.HTTPError):
        with suppress(RuntimeError):  # it never came to a request
            is_another = error.request.url.host != httpx.URL(request.url).host
    if is_another:
        return Elsewhere(type(error).__name__)
    return ConnectionTrouble(
        f"{type(error).__name__}: {error}{_where(error)}", maybe_sent=not isinstance(error, _NEVER_SENT)
    )


def _where(error: Exception) -> str:
    """Whose trouble it was: host and port, and nothing else of an address, since a path or a query may be secret."""
    try:
        return f" ({error.request.url.netloc.decode()})" if isinstance(error, httpx.HTTPError) else ""
    except RuntimeError:  # it never came to a request
        return ""


class Transport:
    """Sends requests and reads answers, streams and videos; for the plain client."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._http = httpx.Client(timeout=timeout_seconds, verify=certificates())
        self._seconds = timeout_seconds

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def send(self, request: HTTPRequest, on_upload: OnUpload | None = None) -> HTTPResponse:
        """The answer to one request. Raises ``ConnectionTrouble``; ``InvalidRequest`` when a source cannot be read."""
        with self._body(request, on_upload) as body:
            try:
                with self._http.stream(**_arguments(request, body)) as response:
                    return self._whole(response)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _trouble(error) from error

    def _whole(self, response: httpx.Response) -> HTTPResponse:
        response.stream = UntilTime(response.stream, self._seconds)
        answer = bytearray()
        for chunk in response.iter_bytes():
            _grow(answer, chunk)
        return _plain(response, bytes(answer))

    @contextmanager
    def _body(self, request: HTTPRequest, on_upload: OnUpload | None) -> Iterator[Body]:
        source = request.upload
        if source is None or source.kind is not SourceKind.URL:
            with local_body(request, on_upload, is_async=False) as body:
                yield body
            return
        with _blaming(source), self._http.stream("GET", source.text, follow_redirects=True) as response:
            passage = Passage(request, _source_length(source, response), on_upload)
            yield Body(content=_fetched(source, response, passage), length=_length(response))

    def events(self, request: HTTPRequest, *, seconds: float) -> Generator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, for ``seconds``; or the answer that refuses the stream.

        Raises ``ConnectionTrouble``, also when the time is over.
        """
        try:
            with self._http.stream(**_arguments(request), timeout=stream_timeout(seconds)) as response:
                if response.status_code != 200:
                    yield self._whole(response)
                    return
                response.stream = UntilTime(response.stream, seconds, longest_event_bytes=MAX_ANSWER_BYTES)
                yield from EventSource(response).iter_sse()
        except (httpx.HTTPError, SSEError) as error:
            raise _trouble(error) from error

    def download(self, request: HTTPRequest, path: Path, on_progress: OnProgress | None = None) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            with self._http.stream(**_arguments(request), follow_redirects=True) as response:
                if response.status_code != 200 and response.history:
                    raise Elsewhere(f"HTTP {response.status_code}")
                if response.status_code != 200:
                    return self._whole(response)
                total = _length(response)
                with PartFile(path) as part:
                    for chunk in response.iter_bytes(_CHUNK_BYTES):
                        part.write(chunk)
                        if on_progress is not None:
                            on_progress(part.size, total)
                    part.keep(_promised(response))
                return _plain(response, b"")
        except httpx.HTTPError as error:
            raise _trouble(error, request) from error


class AsyncTransport:
    """Sends requests and reads answers, streams and videos; for the async client."""

    def __init__(self, *, timeout_seconds: float) -> None:
        self._http = httpx.AsyncClient(timeout=timeout_seconds, verify=certificates())
        self._seconds = timeout_seconds

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def send(self, request: HTTPRequest, on_upload: OnUpload | None = None) -> HTTPResponse:
        """The answer to one request. Raises ``ConnectionTrouble``; ``InvalidRequest`` when a source cannot be read."""
        async with self._body(request, on_upload) as body:
            try:
                async with self._http.stream(**_arguments(request, body)) as response:
                    return await self._whole(response)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _trouble(error) from error

    async def _whole(self, response: httpx.Response) -> HTTPResponse:
        response.stream = UntilTime(response.stream, self._seconds)
        answer = bytearray()
        async for chunk in response.aiter_bytes():
            _grow(answer, chunk)
        return _plain(response, bytes(answer))

    @asynccontextmanager
    async def _body(self, request: HTTPRequest, on_upload: OnUpload | None) -> AsyncIterator[Body]:
        source = request.upload
        if source is None or source.kind is not SourceKind.URL:
            with local_body(request, on_upload, is_async=True) as body:
                yield body
            return
        with _blaming(source):
            async with self._http.stream("GET", source.text, follow_redirects=True) as response:
                passage = Passage(request, _source_length(source, response), on_upload)
                yield Body(content=_fetched_async(source, response, passage), length=_length(response))

    async def events(self, request: HTTPRequest, *, seconds: float) -> AsyncGenerator[ServerSentEvent | HTTPResponse]:
        """A stream's events as they come, for ``seconds``; or the answer that refuses the stream.

        Raises ``ConnectionTrouble``, also when the time is over.
        """
        try:
            async with self._http.stream(**_arguments(request), timeout=stream_timeout(seconds)) as response:
                if response.status_code != 200:
                    yield await self._whole(response)
                    return
                response.stream = UntilTime(response.stream, seconds, longest_event_bytes=MAX_ANSWER_BYTES)
                async for event in EventSource(response).aiter_sse():
                    yield event
        except (httpx.HTTPError, SSEError) as error:
            raise _trouble(error) from error

    async def download(self, request: HTTPRequest, path: Path, on_progress: OnProgress | None = None) -> HTTPResponse:
        """Save an answer's body as ``path``: whole, or not at all. Raises ``ConnectionTrouble``, ``OSError``."""
        try:
            async with self._http.stream(**_arguments(request), follow_redirects=True) as response:
                if response.status_code != 200 and response.history:
                    raise Elsewhere(f"HTTP {response.status_code}")
                if response.status_code != 200:
                    return await self._whole(response)
                total = _length(response)
                with PartFile(path) as part:
                    async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                        part.write(chunk)
                        if on_progress is not None:
                            on_progress(part.size, total)
                    part.keep(_promised(response))
                return _plain(response, b"")
        except httpx.HTTPError as error:
            raise _trouble(error, request) from error


def _arguments(request: HTTPRequest, body: Body = _NOTHING) -> dict[str, Any]:
    headers = dict(request.headers)
    arguments: dict[str, Any] = {"method": request.method, "url": request.url, "headers": headers}
    if request.fresh_id_header is not None:
        headers[request.fresh_id_header] = str(uuid.uuid4())
    source = request.upload
    if request.form is not None:
        parts: dict[str, Any] = {name: (None, value) for name, value in request.form.items()}
        if source is not None:
            parts[request.upload_field] = (source.upload_name, body.content, source.media_type)
        arguments["files"] = parts
    elif request.json is not None:
        arguments["json"] = request.json
    elif source is not None:
        if body.length is not None:
            headers["content-length"] = str(body.length)
        arguments["content"] = body.content
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
    if response.headers.get("content-type", "").lower().startswith("text/"):
        raise InvalidRequest("video", shown_url(source.text), "there is a text, not a video")
    return _length(response)


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and "content-encoding" not in response.headers else None


def _fetched(source: VideoSource, response: httpx.Response, passage: Passage) -> Iterator[bytes]:
    chunks = response.iter_bytes()
    while True:
        with _blaming(source):
            chunk = next(chunks, b"")
        if not chunk:
            return
        passage.sent(len(chunk))
        yield chunk


async def _fetched_async(source: VideoSource, response: httpx.Response, passage: Passage) -> AsyncIterator[bytes]:
    chunks = response.aiter_bytes()
    while True:
        with _blaming(source):
            chunk = await anext(chunks, b"")
        if not chunk:
            return
        passage.sent(len(chunk))
        yield chunk


@contextmanager
def _blaming(source: VideoSource) -> Iterator[None]:
    """A source that cannot be read is the caller's, not the provider's; its address is shown without its secrets."""
    try:
        yield
    except httpx.HTTPError as error:
        words = f"it could not be read: {type(error).__name__}"
        raise InvalidRequest("video", shown_url(source.text), words) from error
