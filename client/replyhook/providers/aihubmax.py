"""AIHubMax's unified-task gateway for PixVerse V6 extend.

https://docs.aihubmax.com/pages/en/api-manual/video-series/pixverse-v6/pixverse-v6-extend (PROVIDERS §1 and seed 000,
read November 2026; the names that page leaves out from cookaihq/aihub-mcp's catalogue at f027798). Signs nothing: the
reply URL's token is the proof. Callbacks are documented for sibling models of the gateway, not for this one.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import quote

from msgspec import structs

from replyhook.errors import BadRequest, UnreadableMessage
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
from replyhook.providers.base import (
    MaxJobs,
    ProviderDefaults,
    Upload,
    VerificationKeys,
    raise_for_refusal,
    raise_for_refused_submit,
    source_text,
)
from replyhook.providers.capabilities import CallbackKind, Capabilities, Field
from replyhook.urls import http_parts

_CATALOGUE = "catalogue entry pixverse-v6-extend of cookaihq/aihub-mcp (PROVIDERS §1.2)"
_SEED = "AIHubMax model page [seed 000]; names from the catalogue (PROVIDERS §1.2)"

CAPABILITIES = Capabilities(
    name="aihubmax",
    title="AIHubMax",
    fields=(
        Field(
            name="model",
            wire="model",
            type=str,
            required=True,
            fill="pixverse-v6-extend",
            choices=("pixverse-v6-extend",),
            source=_SEED,
        ),
        Field(name="prompt", wire="prompt", type=str, required=True, source=_SEED),
        Field(name="duration", wire="duration", type=int, minimum=1, maximum=15, default=5, source=_SEED),
        Field(
            name="quality",
            wire="resolution",  # and not ``quality``
            type=str,
            choices=("360p", "540p", "720p", "1080p"),
            default="720p",
            source=_SEED,
        ),
        Field(
            name="style",
            wire="style",
            type=str,
            choices=("anime", "3d_animation", "clay", "comic", "cyberpunk"),
            source=_SEED,
        ),
        Field(name="seed", wire="seed", type=int, source=_CATALOGUE),
        Field(name="negative_prompt", wire="negative_prompt", type=str, source=_SEED),
        Field(name="audio", wire="generate_audio", type=bool, default=False, source=_SEED),
    ),
    takes=frozenset({SourceKind.URL, SourceKind.UPLOAD}),
    # That the upload takes videos is not stated anywhere: inferred (PROVIDERS §1.5). No size limit is published.
    uploads=frozenset({SourceKind.FILE, SourceKind.DATA}),
    callback=CallbackKind.PER_JOB,
    signed=False,
    reports_progress=False,  # the body has it, but only the end is called back (PROVIDERS §1.3)
    can_cancel=False,  # a task says ``can_cancel``, but no call that cancels was found
    result_lifetime=timedelta(hours=24),  # [seed 000]
    media_hosts=(),  # NOT FOUND in any document: the operator sets it
    key_variable="AIHUBMAX_API_KEY",
    busy_pause_seconds=None,  # "on 429 do NOT auto-retry" (PROVIDERS §1.2); a Retry-After would be another matter
    notes=(
        "callback_url is not documented for this model: if the gateway refuses it, set send_callback_url = false",
        "a callback is tried again only after 1, 2 and 4 s, each time waiting 10 s for an answer",
        "no document names the hosts of the videos: set media_hosts; any other host needs a status call's word first",
        "an uploaded video lives 72 h",
    ),
)

STATUSES = {
    # AIHubMax's word: ours
    "pending": JobStatus.QUEUED,
    "processing": JobStatus.RUNNING,
    "completed": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELED,  # in callbacks only; the page's own list of four lacks it
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AIHubMax(ProviderDefaults):
    """AIHubMax, or another gateway of its kind: EvoLink is ``base_url="https://api.evolink.ai"``.

    EvoLink answers results as plain strings, AIHubMax as objects; both are read. EvoLink's upload lives elsewhere, so
    there the video must be a URL, and whether it sells this model is doubtful (PROVIDERS §1.1). ``send_callback_url``
    is a switch because ``callback_url`` is undocumented for this model: it may work, be ignored, or be refused.
    """

    api_key: str = field(default="", repr=False)
    base_url: str = "https://api.aihubmax.com"
    send_callback_url: bool = True
    media_hosts: tuple[str, ...] = CAPABILITIES.media_hosts
    max_jobs: MaxJobs = 0

    @property
    def capabilities(self) -> Capabilities:
        return replace(CAPABILITIES, media_hosts=self.media_hosts)

    @property
    def sends_reply_url(self) -> bool:
        return self.send_callback_url

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        if source.kind in CAPABILITIES.takes:
            return None
        # ``auto_cleanup`` is left at its default: where the space is full, the oldest upload makes room.
        return HTTPRequest(
            method="POST",
            url=f"{self._base}/v1/files/upload/stream",
            headers=self._headers(),
            form={"file_name": source.upload_name},
            upload_field="file",
            upload=source,
        )

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        if response.status >= 300:
            _refuse(response)
        match response.json():
            case {"url": str(url)} if url:
                return Upload(source=VideoSource(kind=SourceKind.UPLOAD, text=url))
            case _:
                raise UnreadableMessage("AIHubMax's upload answer names no url")

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        return HTTPRequest(
            method="POST",
            url=f"{self._base}/v1/videos/generations",
            headers=self._headers(),
            json={
                **CAPABILITIES.wire(request),
                "video_url": source_text(source, *CAPABILITIES.takes),
                **({"callback_url": reply_url} if self.send_callback_url else {}),
            },
        )

    def parse_submit(self, response: HTTPResponse) -> str:
        if not 200 <= response.status < 300:
            _refuse(response, is_submit=True)
        match response.object_or_none():
            case {"id": str(task_id)} if task_id:
                return task_id
            case _:
                _refuse(response, is_submit=True)

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        url = f"{self._base}/v1/tasks/{quote(provider_job_id, safe='')}"
        return HTTPRequest(method="GET", url=url, headers=self._headers())

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        if response.status == 404:
            return None
        if response.status >= 300:
            _refuse(response)
        return structs.replace(_event(as_object(response.json())), provider_job_id=provider_job_id)

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        return self.parse_status(response, provider_job_id)

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        return Trust.TOKEN_ONLY

    def parse_callback(self, callback: Callback) -> JobEvent:
        return _event(as_object(callback.json()))  # the same form as the task query's answer

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}


def _event(task: dict[str, Any]) -> JobEvent:
    word = text_or_none(task.get("status"))
    status = STATUSES.get(word or "")
    progress = task.get("progress")
    is_percentage = isinstance(progress, int) and not isinstance(progress, bool) and 0 <= progress <= 100
    return JobEvent(
        provider_job_id=text_or_none(task.get("id")),
        status=status,
        progress=progress if is_percentage else None,
        # "completed" may come before its results do, with ``results: null`` (PROVIDERS §1.4): not yet a success.
        result=_video(task.get("results")) if status is JobStatus.SUCCEEDED else None,
        error=_failure(task.get("error")) if status is JobStatus.FAILED else None,
        word=word,
    )


def _video(results: Any) -> Asset | None:
    for entry in results if isinstance(results, list) else ():
        item = entry if isinstance(entry, dict) else {"url": entry}  # EvoLink's are plain strings
        url = text_or_none(item.get("url"))
        if url and http_parts(url):
            return Asset(url=url, content_type=text_or_none(item.get("content_type")))
    return None


def _failure(error: Any) -> JobError:
    code, words = _code_and_words(error)
    return JobError(code=code[:64] if code else None, message=words or "failed at AIHubMax")


def _refuse(response: HTTPResponse, *, is_submit: bool = False) -> NoReturn:
    body = response.object_or_none() or {}
    code, words = _code_and_words(body.get("error"))
    if response.status == 422:
        # ``validation_error`` and ``model_not_found``; what moderation is answered with is not documented.
        raise BadRequest(words or "HTTP 422 without a readable reason", status=422, code=code)
    if is_submit:
        # 500 ``server_error`` and 503 ``service_unavailable`` too: "never retry blindly after 5xx" (PROVIDERS §1.2).
        raise_for_refused_submit(response, words, code=code)
    raise_for_refusal(response, words, code=code)


def _code_and_words(error: Any) -> tuple[str | None, str | None]:
    """The code, or where there is none the type, and the message of an ``error`` object."""
    if not isinstance(error, dict):
        return None, text_or_none(error)
    return text_or_none(error.get("code")) or text_or_none(error.get("type")), text_or_none(error.get("message"))
