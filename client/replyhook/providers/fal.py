"""fal.ai's queue for PixVerse V6 extend.

https://fal.ai/docs/documentation/model-apis/inference/webhooks.md and the model page fal-ai/pixverse/v6/extend
(PROVIDERS §3, read November 2026; client behaviour from fal-client 1.0.3). Signs callbacks with Ed25519 over
``request_id \\n user_id \\n timestamp \\n hex(sha256(body))``; public keys come from a JWKS.
"""

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from replyhook.errors import (
    BadRequest,
    CancelNotPossible,
    InsufficientCredits,
    OtherSender,
    ProviderUnavailable,
    UnreadableMessage,
    VerificationError,
)
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
from replyhook.pricing import PricePerSecond
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
from replyhook.signatures import check_time, parse_unix_seconds, verify_ed25519

_SEED = "fal model page [seed 002]"
_MODEL_PATH = "fal-ai/pixverse/v6/extend"
_TOLERANCE = timedelta(seconds=300)
_USER_ID = "x-fal-webhook-user-id"
_SIGNATURE_HEADERS = ("x-fal-webhook-request-id", _USER_ID, "x-fal-webhook-timestamp", "x-fal-webhook-signature")

CAPABILITIES = Capabilities(
    name="fal",
    title="fal",
    fields=(
        Field(name="prompt", wire="prompt", type=str, required=True, source=_SEED),
        Field(name="duration", wire="duration", type=int, minimum=1, maximum=15, default=5, source=_SEED),
        Field(
            name="quality",
            wire="resolution",
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
        Field(name="seed", wire="seed", type=int, source=_SEED),
        Field(name="negative_prompt", wire="negative_prompt", type=str, default="", source=_SEED),
        Field(name="audio", wire="generate_audio_switch", type=bool, default=False, source=_SEED),
    ),
    takes=frozenset({SourceKind.URL, SourceKind.UPLOAD}),
    uploads=frozenset({SourceKind.FILE, SourceKind.DATA}),
    callback=CallbackKind.PER_JOB,
    signed=True,
    reports_progress=False,
    can_cancel=True,
    # "at least 7 days by default" comes from a secondary source only (PROVIDERS §3.5).
    result_lifetime=timedelta(days=7),
    media_hosts=(".fal.media",),
    key_variable="FAL_KEY",
    # "Billing is calculated per second of video generated" [seed 002], read November 2026: without audio, with audio.
    pricing=PricePerSecond(
        rates={
            ("360p", False): Decimal("0.025"),
            ("360p", True): Decimal("0.035"),
            ("540p", False): Decimal("0.035"),
            ("540p", True): Decimal("0.045"),
            ("720p", False): Decimal("0.045"),
            ("720p", True): Decimal("0.060"),
            ("1080p", False): Decimal("0.090"),
            ("1080p", True): Decimal("0.115"),
        },
        source=_SEED,
    ),
    # The queue itself is said never to answer 429 (PROVIDERS §3.5), so no pause is published: the usual one.
    notes=("answers 2xx wanted within 15 s; 10 retries in 2 h", "result lifetime from a secondary source"),
)

STATUSES = {
    # fal's word: ours
    "IN_QUEUE": JobStatus.QUEUED,
    "IN_PROGRESS": JobStatus.RUNNING,
    # fal has no FAILED: a failed job is COMPLETED too, and its result tells (PROVIDERS §3.3).
    "COMPLETED": JobStatus.SUCCEEDED,
    # callbacks
    "OK": JobStatus.SUCCEEDED,
    "ERROR": JobStatus.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fal(ProviderDefaults):
    """fal's queue API. ``user_ids`` pins whose signed callbacks are ours: any fal customer can aim one at us."""

    api_key: str = field(default="", repr=False)
    base_url: str = "https://queue.fal.run"
    rest_url: str = "https://rest.fal.ai"
    jwks_url: str | None = "https://rest.fal.ai/.well-known/jwks.json"
    model_path: str = _MODEL_PATH
    media_hosts: tuple[str, ...] = CAPABILITIES.media_hosts
    user_ids: tuple[str, ...] = field(default=(), repr=False)
    max_jobs: MaxJobs = 0

    @property
    def capabilities(self) -> Capabilities:
        pricing = CAPABILITIES.pricing if self.model_path == _MODEL_PATH else None  # another model costs what it costs
        return replace(CAPABILITIES, media_hosts=self.media_hosts, pricing=pricing)

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        if source.kind in CAPABILITIES.takes:
            return None
        return HTTPRequest(
            method="POST",
            url=f"{self.rest_url.rstrip('/')}/storage/upload/initiate?storage_type=gcs",
            headers=self._headers(),
            json={"file_name": source.upload_name, "content_type": source.media_type},
        )

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        if response.status >= 300:
            raise_for_refusal(response, _detail(response))
        match response.json():
            case {"upload_url": str(upload_url), "file_url": str(file_url)}:
                # The address is signed for this content type.
                headers = {"content-type": source.media_type}
                put = HTTPRequest(method="PUT", url=upload_url, headers=headers, upload=source)
                return Upload(source=VideoSource(kind=SourceKind.UPLOAD, text=file_url), then=put)
            case _:
                raise UnreadableMessage("fal's upload answer names no upload_url and file_url")

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        # In the query, never in the JSON: there it is silently ignored (fal-ai/fal-js issue 135).
        query = urlencode({"fal_webhook": reply_url})
        return HTTPRequest(
            method="POST",
            url=f"{self.base_url.rstrip('/')}/{self.model_path}?{query}",
            headers=self._headers(),
            json={"video_url": source_text(source, *CAPABILITIES.takes), **CAPABILITIES.wire(request)},
        )

    def parse_submit(self, response: HTTPResponse) -> str:
        if not 200 <= response.status < 300:
            _refuse(response)
        match response.object_or_none():
            case {"request_id": str(request_id)} if request_id:
                return request_id
            case _:
                raise_for_refused_submit(response, None)

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        return HTTPRequest(method="GET", url=f"{self._request_url(provider_job_id)}/status", headers=self._headers())

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        if response.status == 404:
            return None
        if response.status >= 300:
            raise_for_refusal(response, _detail(response))
        body = as_object(response.json())
        word = text_or_none(body.get("status"))
        failure = body.get("error")
        if word == "COMPLETED" and failure:
            error = JobError(code=text_or_none(body.get("error_type")), message=text_or_none(failure) or "failed")
            return JobEvent(provider_job_id=provider_job_id, status=JobStatus.FAILED, error=error, word=word)
        return JobEvent(provider_job_id=provider_job_id, status=STATUSES.get(word or ""), word=word)

    def build_result(self, provider_job_id: str) -> HTTPRequest | None:
        return HTTPRequest(method="GET", url=self._request_url(provider_job_id), headers=self._headers())

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        if response.status in (202, 404):
            return None
        # Asked for only after the status said COMPLETED, so a 4xx here is the job's own failure (PROVIDERS §3.3).
        if 400 <= response.status < 500 and response.status not in (401, 403, 408, 429):
            code = response.headers.get("x-fal-error-type") or str(response.status)
            error = JobError(code=code, message=_detail(response) or "failed")
            return JobEvent(provider_job_id=provider_job_id, status=JobStatus.FAILED, error=error)
        if response.status >= 300:
            raise_for_refusal(response, _detail(response))
        return JobEvent(
            provider_job_id=provider_job_id, status=JobStatus.SUCCEEDED, result=_video(as_object(response.json()))
        )

    def build_cancel(self, provider_job_id: str) -> HTTPRequest | None:
        return HTTPRequest(method="PUT", url=f"{self._request_url(provider_job_id)}/cancel", headers=self._headers())

    def parse_cancel(self, response: HTTPResponse) -> None:
        if response.status == 404:
            raise CancelNotPossible("fal knows no such job")
        if response.status == 400:  # ALREADY_COMPLETED
            raise CancelNotPossible("fal has completed the job already: its callback is on its way")
        if response.status >= 300:
            raise_for_refusal(response, _detail(response))

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        sent = callback.single_headers(_SIGNATURE_HEADERS)
        request_id, user_id, timestamp, signature = map(sent.get, _SIGNATURE_HEADERS)
        if not request_id or not user_id or not timestamp or not signature:
            raise VerificationError("a header of fal's signature is missing")
        allowed = self.user_ids or keys.senders  # what is configured takes the place of what was learned
        if allowed and user_id not in allowed:
            raise OtherSender("signed for another fal user than the pinned one")
        # fal's own sample checks the clock first too, and P3 wants it before any fetch of keys.
        check_time(parse_unix_seconds(timestamp, what="x-fal-webhook-timestamp"), now=now, tolerance=_TOLERANCE)
        if not re.fullmatch(r"[0-9a-fA-F]{128}", signature):
            raise VerificationError("x-fal-webhook-signature is not 64 bytes in hexadecimal")
        raw_signature = bytes.fromhex(signature)
        digest = hashlib.sha256(callback.body).hexdigest()
        try:
            message = "\n".join((request_id, user_id, timestamp, digest)).encode("latin-1")
        except UnicodeEncodeError as error:
            raise VerificationError("a header of fal's signature is malformed") from error
        verify_ed25519(keys.public_keys, signature=raw_signature, message=message)
        self._check_ids(callback, request_id)
        return Trust.SIGNED

    def sender(self, callback: Callback) -> str | None:
        return callback.header(_USER_ID)

    def parse_callback(self, callback: Callback) -> JobEvent:
        body = as_object(callback.json())
        word = text_or_none(body.get("status"))
        payload = body.get("payload")
        status = JobStatus.CANCELED if _is_canceled(word, payload) else STATUSES.get(word or "")
        gateway = text_or_none(body.get("gateway_request_id"))
        return JobEvent(
            provider_job_id=text_or_none(body.get("request_id")),
            status=status,
            # "payload": null with payload_error is still a success; the result waits in the queue (PROVIDERS §3.2).
            result=_video(payload) if status is JobStatus.SUCCEEDED and isinstance(payload, dict) else None,
            error=_callback_error(body) if status in (JobStatus.FAILED, JobStatus.CANCELED) else None,
            word=word,
            aliases=(gateway,) if gateway else (),
        )

    def _check_ids(self, callback: Callback, request_id: str) -> None:
        try:
            body = callback.json()
        except UnreadableMessage:
            return  # signed, so kept as it came, as unrecognised
        if isinstance(body, dict) and request_id not in (body.get("request_id"), body.get("gateway_request_id")):
            # Which of the two the header carries after a gateway retry is not published.
            raise VerificationError("the signed request id is not the body's")

    def _request_url(self, provider_job_id: str) -> str:
        # Status and result live under owner/app alone, without the rest of the model's path (PROVIDERS §3.3).
        owner_and_app = "/".join(self.model_path.split("/")[:2])
        return f"{self.base_url.rstrip('/')}/{owner_and_app}/requests/{quote(provider_job_id, safe='')}"

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Key {self.api_key}"}


def _refuse(response: HTTPResponse) -> None:
    body = response.object_or_none() or {}
    detail = _detail(response)
    if response.status == 503 and detail:
        # Documented, with words of fal's own: refused before anything is queued (PROVIDERS §3.5).
        raise ProviderUnavailable(detail)
    if response.status == 403 and detail and "exhausted balance" in detail.lower():
        # "User is locked. Reason: Exhausted balance." is what users quote; no document has it.
        raise InsufficientCredits(detail, status=403, code=text_or_none(body.get("error_type")))
    # 422 is fal's word for a field it does not like, not for moderation: that has its own error type.
    if response.status == 422 and not _is_moderation(body.get("detail")):
        raise BadRequest(_detail(response) or "HTTP 422", status=422, code=text_or_none(body.get("error_type")))
    raise_for_refused_submit(response, _detail(response), code=text_or_none(body.get("error_type")))


def _is_moderation(detail: Any) -> bool:
    entries = detail if isinstance(detail, list) else [{"msg": detail}]
    # Not the whole entry: it may repeat the prompt, and a prompt may speak of moderation.
    words = " ".join(f"{entry.get('type')} {entry.get('msg')}" for entry in entries if isinstance(entry, dict))
    return "content_policy" in words or "moderat" in words.lower()


def _detail(response: HTTPResponse) -> str | None:
    body = response.object_or_none()
    return _detail_text(body.get("detail")) if body else None


def _detail_text(detail: Any) -> str | None:
    if isinstance(detail, list):
        parts = [
            f"{'.'.join(str(step) for step in entry.get('loc', ()))}: {entry.get('msg')}"
            for entry in detail
            if isinstance(entry, dict) and isinstance(entry.get("loc", ()), list | tuple)
        ]
        return "; ".join(parts) or None
    return text_or_none(detail)


def _is_canceled(word: str | None, payload: Any) -> bool:
    # The type is fal's (PROVIDERS §3.5); that a canceled request calls back, and so, is inferred.
    return word == "ERROR" and isinstance(payload, dict) and payload.get("error_type") == "client_cancelled"


def _callback_error(body: dict[str, Any]) -> JobError:
    words = text_or_none(body.get("error")) or "failed"
    payload = body.get("payload")
    detail = _detail_text(payload.get("detail")) if isinstance(payload, dict) else None
    code = words.removeprefix("Invalid status code: ") if words.startswith("Invalid status code: ") else None
    return JobError(code=code, message=f"{words}: {detail}" if detail else words)


def _video(payload: dict[str, Any]) -> Asset | None:
    match payload.get("video"):
        case {"url": str(url), **rest} if url:
            size = rest.get("file_size")
            return Asset(
                url=url,
                content_type=text_or_none(rest.get("content_type")),
                bytes=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63 else None,
            )
        case _:
            return None
