"""useapi.net's v2 API for your own PixVerse account.

https://useapi.net/docs/api-pixverse-v2 (PROVIDERS §5 and seed 004, read November 2026; the callback's form from
useapi/examples pixverse-demo at bbc5e68, since no callback is published verbatim). Signs nothing: the reply URL's
token is the proof. ``extend-v3`` is the recorded endpoint and is marked retired by its vendor (11 April 2025) in favour
of ``extend-v4``, whose field list was not found: set ``submit_path`` to move.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import structs

from replyhook.errors import BadRequest, InvalidRequest, UnreadableMessage
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
)
from replyhook.providers.capabilities import CallbackKind, Capabilities, Field

_SEED = "useapi.net extend-v3 page [seed 004]"

CAPABILITIES = Capabilities(
    name="useapi",
    title="useapi.net",
    fields=(
        Field(name="prompt", wire="prompt", type=str, required=True, max_length=2048, source=_SEED),
        Field(name="duration", wire="duration", type=int, choices=(5, 8), default=5, source=_SEED),
        Field(name="quality", wire="quality", type=str, choices=("360p", "540p"), default="540p", source=_SEED),
        Field(name="style", wire="style", type=str, choices=("anime", "3d_animation", "clay"), source=_SEED),
        Field(name="seed", wire="seed", type=int, minimum=1, maximum=2147483647, source=_SEED),
        Field(name="negative_prompt", wire="negative_prompt", type=str, max_length=2048, source=_SEED),
        Field(
            name="motion_mode",
            wire="motion_mode",
            type=str,
            choices=("normal", "fast"),
            default="normal",
            source=_SEED,
        ),
        Field(
            name="model",
            wire="model",
            type=str,
            choices=("v3.5", "v3"),
            source="newer copy of the extend-v3 page (PROVIDERS §5.1)",
        ),
    ),
    options=(
        Field(name="options['email']", wire="email", type=str, max_length=320, source=_SEED),
        Field(name="options['maxJobs']", wire="maxJobs", type=int, minimum=1, maximum=8, source=_SEED),
        Field(name="options['template_id']", wire="template_id", type=int, minimum=0, maximum=2**53, source=_SEED),
        Field(name="options['remove_watermark']", wire="remove_watermark", type=bool, default=True, source=_SEED),
    ),
    takes=frozenset({SourceKind.PROVIDER_JOB, SourceKind.UPLOAD}),
    uploads=frozenset({SourceKind.URL, SourceKind.FILE, SourceKind.DATA}),
    max_upload_bytes=5 * 1024**3,  # "5 GB" (PROVIDERS §5.4)
    callback=CallbackKind.PER_JOB,
    signed=False,
    reports_progress=True,
    can_cancel=False,
    result_lifetime=None,
    media_hosts=("media.pixverse.ai",),
    id_is_personal=True,
    key_variable="USEAPI_TOKEN",
    busy_pause_seconds=(10.0, 30.0),  # "wait in a loop for at least 10..30 seconds and retry again" [seed 004]
    notes=("no word on retries of a callback", "the answer wanted of a callback is not published"),
)

STATUSES = {
    # useapi's word: ours. ``video_status_final`` is no help: QUEUED is published with final=true (PROVIDERS §5.2).
    "QUEUED": JobStatus.QUEUED,
    "GENERATING": JobStatus.RUNNING,
    "COMPLETED": JobStatus.SUCCEEDED,
    "MODERATED": JobStatus.FAILED,
    "FAILED": JobStatus.FAILED,
}
SEARCHED = 40
"""How many of the latest videos are looked through for a job: as many as are listed unasked (PROVIDERS §5.3)."""
STATUS_NUMBERS = {1: "COMPLETED", 5: "QUEUED", 10: "GENERATING"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UseAPI(ProviderDefaults):
    """useapi.net. ``email`` picks one of the PixVerse accounts set up there, for uploads and submits alike."""

    api_key: str = field(default="", repr=False)
    base_url: str = "https://api.useapi.net/v2/pixverse"
    submit_path: str = "videos/extend-v3"
    email: str | None = field(default=None, repr=False)
    media_hosts: tuple[str, ...] = CAPABILITIES.media_hosts
    max_jobs: MaxJobs = 0

    @property
    def capabilities(self) -> Capabilities:
        return replace(CAPABILITIES, media_hosts=self.media_hosts)

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        if source.kind in CAPABILITIES.takes:
            return None
        query = f"?{urlencode({'email': self.email})}" if self.email else ""
        return HTTPRequest(
            method="POST",
            url=f"{self._base}/files/{query}",
            headers={**self._headers(), "content-type": source.media_type},
            upload=source,
            max_upload_bytes=CAPABILITIES.max_upload_bytes,
        )

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        if response.status >= 300:
            raise_for_refusal(response, _error(response))
        match response.json():
            case {"path": str(path)} if path:
                return Upload(source=VideoSource(kind=SourceKind.UPLOAD, text=path))
            case _:
                raise UnreadableMessage("useapi's upload answer names no path")

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        names = {SourceKind.PROVIDER_JOB: "video_id", SourceKind.UPLOAD: "video_path"}
        if source.kind not in names:
            raise InvalidRequest("video", source.kind, "an upload or an earlier video's id", provider="useapi")
        fields = {"email": self.email} if self.email else {}
        return HTTPRequest(
            method="POST",
            url=f"{self._base}/{self.submit_path}",
            headers=self._headers(),
            json={
                **fields,
                names[source.kind]: source.text,
                **CAPABILITIES.wire(request),
                "replyUrl": reply_url,
                "replyRef": job_id,
            },
        )

    def parse_submit(self, response: HTTPResponse) -> str:
        if not 200 <= response.status < 300:
            raise_for_refused_submit(response, _error(response))
        match response.object_or_none():
            case {"video_id": str(video_id)} if video_id:
                return video_id
            case {"error": str(words)}:
                raise BadRequest(words, status=response.status)
            case _:
                raise_for_refused_submit(response, None)

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        url = f"{self._base}/videos/{quote(provider_job_id, safe='')}"
        return HTTPRequest(method="GET", url=url, headers=self._headers())

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        if response.status == 404:  # still running, or unknown: useapi says the same for both (PROVIDERS §5.3)
            return None
        if response.status >= 300:
            raise_for_refusal(response, _error(response))
        return structs.replace(_event(as_object(response.json())), provider_job_id=provider_job_id)

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        return self.parse_status(response, provider_job_id)

    def build_search(self, job_id: str) -> HTTPRequest | None:
        query = urlencode({"limit": SEARCHED} | ({"email": self.email} if self.email else {}))
        return HTTPRequest(method="GET", url=f"{self._base}/videos/?{query}", headers=self._headers())

    def parse_search(self, response: HTTPResponse, job_id: str) -> JobEvent | None:
        """A callback is published as a list's item "plus replyRef": whether the list has it too nobody says."""
        if response.status >= 300:
            raise_for_refusal(response, _error(response))
        items = as_object(response.json()).get("data")
        events = [_event(item) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        return next((event for event in events if event.job_id == job_id and event.provider_job_id), None)

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        return Trust.TOKEN_ONLY

    def parse_callback(self, callback: Callback) -> JobEvent:
        return _event(as_object(callback.json()))

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.api_key}"}


def _event(item: dict[str, Any]) -> JobEvent:
    nested = item.get("response")
    if isinstance(nested, dict):  # the vendor's sample looks for ``replyRef`` in both places
        item = {**nested, **{name: value for name, value in item.items() if value not in (None, "")}}
    word = text_or_none(item.get("video_status_name")) or STATUS_NUMBERS.get(_number(item.get("video_status")) or 0)
    status = STATUSES.get(word or "")
    if item.get("errCode"):
        status = JobStatus.FAILED
    url = text_or_none(item.get("url"))
    progress = _number(item.get("progress"))
    return JobEvent(
        provider_job_id=text_or_none(item.get("video_id")),
        status=status,
        progress=progress if progress is not None and 0 <= progress <= 100 else None,
        result=Asset(url=url) if status is JobStatus.SUCCEEDED and url else None,
        error=_failure(item, word) if status is JobStatus.FAILED else None,
        word=word,
        job_id=text_or_none(item.get("replyRef")),
    )


def _failure(item: dict[str, Any], word: str | None) -> JobError:
    code = item.get("errCode")
    words = text_or_none(item.get("errMsg")) or text_or_none(item.get("error"))
    moderated = "refused by PixVerse's moderation" if word == "MODERATED" else "failed at PixVerse"
    return JobError(code=str(code)[:64] if code else word, message=words or moderated)


def _error(response: HTTPResponse) -> str | None:
    body = response.object_or_none()
    return text_or_none(body.get("error")) if body else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
