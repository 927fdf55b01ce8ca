"""Segmind's serverless API for PixVerse 5 extend.

https://www.segmind.com/models/pixverse-5-extend/api and https://docs.segmind.com/docs/serverless-api/async-inference
(PROVIDERS §4 and seed 003, read November 2026; the v2 answers from the package segmind 1.3.0). Signs nothing, and calls
nobody back: the blocking call's answer is relayed as the callback, and ``build_submit`` has no use for a reply URL.
Where this says [error list]: api-evangelist/segmind at 52db65d, which quotes Segmind's pages; a secondary source.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import quote

from msgspec import structs

from replyhook.errors import BadRequest, ConfigurationError, InsufficientCredits, UnreadableMessage
from replyhook.jobs import (
    Asset,
    ExtendRequest,
    JobError,
    JobEvent,
    JobStatus,
    SourceKind,
    Trust,
    VideoSource,
)
from replyhook.messages import Callback, HTTPRequest, HTTPResponse, as_object, text_or_none
from replyhook.pricing import PricePerJob
from replyhook.providers.base import (
    MaxJobs,
    ProviderDefaults,
    Upload,
    VerificationKeys,
    raise_for_refusal,
    raise_for_refused_submit,
    source_text,
)
from replyhook.providers.capabilities import CallbackKind, Capabilities, Field, Rule
from replyhook.urls import http_parts

_SEED = "Segmind model page [seed 003]"
_PAGE = "newer copy of the model page (PROVIDERS §4.1)"
_MODES = ("v1", "v2")
_MONEY = ("credit", "balance", "spend")

CAPABILITIES = Capabilities(
    name="segmind",
    title="Segmind",
    fields=(
        Field(name="prompt", wire="prompt", type=str, required=True, source=_SEED),
        Field(name="duration", wire="duration", type=int, required=True, fill=5, choices=(5, 8), source=_SEED),
        Field(
            name="quality",
            wire="quality",
            type=str,
            required=True,
            fill="540p",
            choices=("360p", "540p", "720p", "1080p"),
            source=_SEED,
        ),
        Field(
            name="motion_mode",
            wire="motion_mode",
            type=str,
            required=True,
            fill="normal",
            choices=("normal", "fast"),
            source=_SEED,
        ),
        Field(name="negative_prompt", wire="negative_prompt", type=str, source=_SEED),
        Field(name="seed", wire="seed", type=int, minimum=1, maximum=999999, source=_PAGE),
        # No ``style``: it is "only for model=v3.5", this address is version 5, and there is no ``model`` to choose.
    ),
    rules=(
        Rule(when=("motion_mode", "fast"), name="duration", allowed=(5,), source=_SEED),
        Rule(when=("quality", "1080p"), name="duration", allowed=(5,), source=_SEED),
        Rule(when=("quality", "1080p"), name="motion_mode", allowed=("normal",), source=_SEED),
    ),
    takes=frozenset({SourceKind.URL}),
    # Its docs say pictures, its own client's list of endings has videos too (PROVIDERS §4.4; segmind 1.3.0, files.py).
    uploads=frozenset({SourceKind.FILE, SourceKind.DATA}),
    callback=CallbackKind.NONE,
    signed=False,
    reports_progress=False,
    can_cancel=False,
    # How long v2 keeps its record, with the link in it. The file itself: 7 days by a secondary source only.
    result_lifetime=timedelta(hours=1),
    # Of results: the README of the package segmind ("https://images.segmind.com/generations/…"); no video was seen.
    media_hosts=("images.segmind.com",),
    key_variable="SEGMIND_API_KEY",
    # "$0.375 to $1.00 per generation" (PROVIDERS §4.5), read November 2026; which setting costs what is not published.
    pricing=PricePerJob(lowest=Decimal("0.375"), highest=Decimal("1.00"), source=_PAGE),
    notes=(
        "style is only for v3.5, and this is PixVerse 5: leave it out",
        "a file or bytes are uploaded by the client, with its own key, as base64 in JSON; no size limit is published",
        "the result's lifetime is that of v2's record; the link's own is not in the vendor's pages",
        "mode v2 was inferred from /v2/{slug}; a newer copy of the model page names it, nobody tried it",
    ),
)

STATUSES = {
    # Segmind's word: ours; v2 only, the blocking v1 has none
    "QUEUED": JobStatus.QUEUED,
    "PROCESSING": JobStatus.RUNNING,
    "COMPLETED": JobStatus.SUCCEEDED,
    "FAILED": JobStatus.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmind(ProviderDefaults):
    """Segmind. ``mode`` is ``v1`` (one call that blocks until the video is there) or ``v2`` (an id at once).

    That v2 takes this model was inferred from ``/v2/{slug}``; a newer copy of the model's page names it. v1 is "in
    maintenance mode". A v2 job must be asked about within the hour that its record lives.
    """

    api_key: str = field(default="", repr=False)
    base_url: str = "https://api.segmind.com"
    assets_url: str = "https://workflows-api.segmind.com"
    mode: str = "v1"
    media_hosts: tuple[str, ...] = CAPABILITIES.media_hosts
    max_jobs: MaxJobs = 0

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ConfigurationError(f"segmind's mode is {' or '.join(_MODES)}, not {self.mode!r}")

    @property
    def capabilities(self) -> Capabilities:
        return replace(CAPABILITIES, media_hosts=self.media_hosts)

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        if source.kind in CAPABILITIES.takes:
            return None
        return HTTPRequest(
            method="POST",
            url=f"{self.assets_url.rstrip('/')}/upload-asset",
            headers={**self._headers(), "content-type": "application/json"},
            upload=source,
            upload_frame=(f'{{"data_urls":["data:{source.media_type};base64,', '"]}'),
        )

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        if response.status >= 300:
            _refuse(response)
        match response.json():
            case {"file_urls": [str(url), *_]} if http_parts(url):
                return Upload(source=VideoSource(kind=SourceKind.URL, text=url))
            case _:
                raise UnreadableMessage("Segmind's upload answer names no file_urls")

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        return HTTPRequest(
            method="POST",
            url=f"{self._base}/{self.mode}/pixverse-5-extend",
            headers=self._headers(),
            # Listed as optional, but without a video there is nothing to extend.
            json={"video_url": source_text(source, *CAPABILITIES.takes), **CAPABILITIES.wire(request)},
        )

    def parse_submit(self, response: HTTPResponse) -> str:
        """v2's request id. A blocking answer has none: it is a callback, or it says no."""
        if not 200 <= response.status < 300:
            _refuse(response, is_submit=True)
        match response.object_or_none():
            case {"request_id": str(request_id)} if request_id:
                return request_id
            case _:
                raise_for_refused_submit(response, None)

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        return HTTPRequest(method="GET", url=f"{self._request_url(provider_job_id)}/status", headers=self._headers())

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        body = _record(response)
        if body is None:
            return None
        status, word = _status(body)
        return JobEvent(provider_job_id=provider_job_id, status=status, error=_failure(body, status), word=word)

    def build_result(self, provider_job_id: str) -> HTTPRequest | None:
        return HTTPRequest(method="GET", url=self._request_url(provider_job_id), headers=self._headers())

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        body = _record(response)
        return None if body is None else structs.replace(_event(body), provider_job_id=provider_job_id)

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        return Trust.RELAYED

    def parse_callback(self, callback: Callback) -> JobEvent:
        """What a submit's JSON answer says: v2's "queued", or how v1's job ended."""
        return _event(as_object(callback.json()))

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")

    def _request_url(self, provider_job_id: str) -> str:
        return f"{self._base}/v2/requests/{quote(provider_job_id, safe='')}"

    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self.api_key}  # as a bearer token it is refused [error list]


def _record(response: HTTPResponse) -> dict[str, Any] | None:
    """What v2 keeps of a request; None once it has expired."""
    if response.status == 404:
        return None
    body = response.object_or_none()
    # A job that failed is served under 422 (segmind 1.3.0, v2.py); every other refusal is about the question.
    if response.status >= 300 and not (body and body.get("status") == "FAILED"):
        _refuse(response)
    return as_object(response.json())


def _event(body: dict[str, Any]) -> JobEvent:
    status, word = _status(body)
    video = _video(body) if status in (JobStatus.SUCCEEDED, None) else None
    if video is not None:
        status = JobStatus.SUCCEEDED  # a video that was paid for counts more than a word that we do not know
    return JobEvent(
        provider_job_id=text_or_none(body.get("request_id")),
        status=status,
        result=video,
        error=_failure(body, status),
        word=word,
    )


def _status(body: dict[str, Any]) -> tuple[JobStatus | None, str | None]:
    """Our status and Segmind's word. A body without the field is a blocking call's: it answers once all is done."""
    if "status" in body:
        word = text_or_none(body["status"])
        return STATUSES.get(word or ""), word
    # A guess: an error and no video mean that the job has failed; no document shows such a 2xx.
    has_failed = text_or_none(body.get("error")) is not None and _video(body) is None
    return (JobStatus.FAILED if has_failed else JobStatus.SUCCEEDED), None


def _failure(body: dict[str, Any], status: JobStatus | None) -> JobError | None:
    return JobError(code=None, message=_words(body) or "failed at Segmind") if status is JobStatus.FAILED else None


def _video(body: dict[str, Any]) -> Asset | None:
    """The video of a result. Which name it has is a guess for this model: its page says "Returns: Video", no more.

    ``output`` is there for every model, ``video.url`` for videos [async-inference page]; the others are the likeliest
    of what is left. ``video_url`` and ``url`` come last: the first could as well be the request's own, sent back.
    """
    for name in ("video", "output", "video_url", "url"):
        for text in _texts(body.get(name), depth=2):
            if http_parts(text):
                return Asset(url=text)
    return None


def _texts(value: Any, *, depth: int) -> Iterator[str]:
    """The texts that may be a link: the value itself, those in a list, those under an object's likely names."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list | dict):
        inner = value if isinstance(value, list) else [value.get(name) for name in ("url", "video", "video_url")]
        for entry in inner:
            yield from _texts(entry, depth=depth - 1)


def _refuse(response: HTTPResponse, *, is_submit: bool = False) -> NoReturn:
    words = _words(response.object_or_none() or {})
    said = words or f"HTTP {response.status} without a readable reason"
    # That 406 means missing credits is NOT CONFIRMED by the model's page (PROVIDERS §4.5). The [error list] agrees, but
    # has it for a refused value and a wrong content type as well: only the words tell which.
    if response.status == 406 and (words is None or any(part in words.lower() for part in _MONEY)):
        raise InsufficientCredits(said, status=406)
    if response.status == 422:  # v2's number for a job that failed [error list]; none for moderation is documented
        raise BadRequest(said, status=422)
    if is_submit:
        raise_for_refused_submit(response, words)
    raise_for_refusal(response, words)


def _words(body: dict[str, Any]) -> str | None:
    """Segmind's reason: ``error`` (segmind 1.3.0, exceptions.py), or what such bodies often have instead."""
    named = (text_or_none(body.get(name)) for name in ("error_description", "error", "detail", "message"))
    return next((words for words in named if words), None)
