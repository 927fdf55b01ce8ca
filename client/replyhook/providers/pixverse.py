"""The PixVerse Platform's own API: extend generation.

https://docs.platform.pixverse.ai and https://docs.platform.pixverse.ai/how-to-use-webhook-1905378m0 (PROVIDERS §2 and
seed 001, read November 2026). Signs callbacks with HMAC-SHA256 over ``timestamp \\n nonce \\n the body as a query
string``, which its four samples write in different ways: see ``replyhook.query_forms``. There is no reply URL per job:
a webhook is entered in the console, and a callback names nothing but PixVerse's id of the video.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from msgspec import structs

from replyhook.errors import (
    BadRequest,
    ConfigurationError,
    InsufficientCredits,
    InvalidRequest,
    Moderated,
    RateLimited,
    SubmissionRefused,
    Unauthorized,
    UnreadableMessage,
    VerificationError,
)
from replyhook.jobs import (
    DEFAULT_ACCOUNT,
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
from replyhook.providers.capabilities import CallbackKind, Capabilities, Field, Rule
from replyhook.query_forms import check_form_signature
from replyhook.signatures import check_time, parse_unix_seconds
from replyhook.urls import http_parts

_SEED = "PixVerse extend page [seed 001]"
_GUIDE = "PixVerse's guide “How to use Extend” (PROVIDERS §2.1)"
_COPY = "copy of PixVerse's OpenAPI page (PROVIDERS §2.1)"
_SWAGGER = "a gateway's copy of the swagger, up to v6 (PROVIDERS §2.1)"
_GUESS = "inferred from PixVerse's other endpoints (PROVIDERS §2.1)"

_MODELS = ("v3.5", "v4", "v4.5", "v5", "v5.5", "v6")
_QUALITIES = ("360p", "540p", "720p", "1080p")
_STYLES = ("anime", "3d_animation", "clay", "cyberpunk", "comic")  # the guide's "day" is a slip for clay
_MAX_TOLERANCE_SECONDS = 30 * 86_400
_VIDEO_ID = re.compile(r"[1-9][0-9]{0,18}")
_NONCE = re.compile(r"[A-Za-z0-9]{32}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{43}=")  # 32 bytes

CAPABILITIES = Capabilities(
    name="pixverse",
    title="PixVerse Platform",
    fields=(
        Field(name="prompt", wire="prompt", type=str, required=True, max_length=2048, source=_GUIDE),
        # The filled-in model and seed are the official sample's.
        Field(name="model", wire="model", type=str, required=True, fill="v4.5", choices=_MODELS, source=_SWAGGER),
        # What each model takes of it stands in the rules; 1 to 15 is v6's range.
        Field(name="duration", wire="duration", type=int, required=True, fill=5, minimum=1, maximum=15, source=_GUESS),
        Field(name="quality", wire="quality", type=str, required=True, fill="540p", choices=_QUALITIES, source=_GUIDE),
        # Required in some copies only. Whoever wants variety passes another one each time.
        Field(
            name="seed",
            wire="seed",
            type=int,
            required=True,
            fill=123123,
            minimum=0,
            maximum=2**31 - 1,
            source=_COPY,
        ),
        Field(name="motion_mode", wire="motion_mode", type=str, choices=("normal", "fast"), source=_GUIDE),
        Field(name="style", wire="style", type=str, choices=_STYLES, source=_GUIDE),
        Field(name="negative_prompt", wire="negative_prompt", type=str, max_length=2048, source=_GUIDE),
        Field(name="watermark", wire="water_mark", type=bool, source=_SEED),
    ),
    options=(
        Field(name="options['template_id']", wire="template_id", type=int, source=_GUIDE),
        Field(name="options['generate_audio_switch']", wire="generate_audio_switch", type=bool, source=_GUESS),
    ),
    rules=(
        *(Rule(when=("model", model), name="duration", allowed=(5, 8), source=_SWAGGER) for model in _MODELS[:4]),
        Rule(when=("model", "v5.5"), name="duration", allowed=(5, 8, 10), source=_SWAGGER),
        # "1080p: no 8" is all that is documented, of a time when there were 5 and 8 alone.
        Rule(when=("quality", "1080p"), name="duration", allowed=tuple({*range(1, 16)} - {8}), source=_GUIDE),
        Rule(when=("motion_mode", "fast"), name="duration", allowed=(5,), source=_GUIDE),
        Rule(when=("motion_mode", "fast"), name="quality", allowed=_QUALITIES[:3], source=_GUIDE),
        # "Not on v5 and later", whichever mode.
        Rule(when=("motion_mode", "normal"), name="model", allowed=_MODELS[:3], source=_SWAGGER),
        Rule(when=("motion_mode", "fast"), name="model", allowed=_MODELS[:3], source=_SWAGGER),
    ),
    takes=frozenset({SourceKind.PROVIDER_JOB, SourceKind.UPLOAD}),
    uploads=frozenset({SourceKind.URL, SourceKind.FILE, SourceKind.DATA}),
    max_upload_bytes=50 * 1024 * 1024,  # "50 MB"; the larger reading, the smaller one is PixVerse's to refuse
    max_upload_seconds=30,
    max_upload_side_pixels=1920,
    upload_suffixes=(".mp4", ".mov", ".webm"),
    callback=CallbackKind.ACCOUNT,
    signed=True,
    reports_progress=False,
    can_cancel=False,
    result_lifetime=None,
    media_hosts=("media.pixverse.ai",),
    key_variable="PIXVERSE_API_KEY",
    # How long to wait after 500044 is not published: the usual pause is what useapi asks for with the same limit.
    notes=(
        "calls back one URL per account: make a webhook in the console and set webhook_id and webhook_secrets",
        "an upload is mp4, mov or webm of at most 50 MB, 30 s and 1920 pixels on either side; what is behind a URL, "
        "and how long and large a webm is, PixVerse itself checks",
        "without a seed the official sample's is sent, so the same request may well give the same video",
        "v6's durations and generate_audio_switch are inferred from other endpoints; so is what a failure's body holds",
        "8 retries in 5.4 h, until the answer is exactly `ok`",
    ),
)

STATUSES = {
    # PixVerse's number: ours. 6 is a deleted video, which says nothing about how its job ended.
    1: JobStatus.SUCCEEDED,
    5: JobStatus.RUNNING,  # "waiting for generation" in one copy, "in progress" in the others
    7: JobStatus.FAILED,
    8: JobStatus.FAILED,
    # Not in the documents: from PixVerse-MCP (2, 3) and from the web API that useapi drives (10)
    2: JobStatus.QUEUED,
    3: JobStatus.RUNNING,
    10: JobStatus.RUNNING,
}
_FAILURES = {7: "refused by PixVerse's moderation", 8: "failed at PixVerse"}

REFUSALS: dict[int, type[SubmissionRefused]] = {
    # PixVerse's ErrCode: ours (PROVIDERS §2.5); any other 4000xx is a BadRequest, as all that are listed are
    **dict.fromkeys(range(10001, 10006), Unauthorized),  # PixVerse-MCP
    400012: Unauthorized,  # "invalid account"
    500008: BadRequest,  # "not found"
    500020: Unauthorized,  # "no permission"
    **dict.fromkeys((500030, 500031, 500032, 500033, 500041, 500042), BadRequest),  # the picture
    500044: RateLimited,  # too many generations at a time
    500054: Moderated,
    500060: InsufficientCredits,  # the month's allowance of effects
    500063: Moderated,
    500090: InsufficientCredits,  # NOT CONFIRMED
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixVerse(ProviderDefaults):
    """One account of the PixVerse Platform; China's is ``base_url="https://app-api.pixverseai.cn/openapi/v2"``.

    ``webhook_id`` is the console's, ``webhook_secrets`` are those of the account called ``account``, newest first, and
    ``accounts`` holds the secrets of further accounts that call the same receiver, by the names of their URLs. A secret
    with a comma in it is given as a list, since text is split there. ``tolerance_seconds`` is how old a callback may
    be: whether a retry has a new time is not published, and the last one comes after 5.4 hours.
    """

    api_key: str = field(default="", repr=False)
    base_url: str = "https://app-api.pixverse.ai/openapi/v2"
    webhook_id: str = ""
    account: str = DEFAULT_ACCOUNT
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    accounts: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    tolerance_seconds: int = 6 * 3600
    media_hosts: tuple[str, ...] = CAPABILITIES.media_hosts
    max_jobs: MaxJobs = 0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance_seconds <= _MAX_TOLERANCE_SECONDS:
            raise ConfigurationError(f"pixverse's tolerance_seconds is 1 to {_MAX_TOLERANCE_SECONDS}")
        secrets = (*self.webhook_secrets, *(secret for each in self.accounts.values() for secret in each))
        if any(not secret or secret != secret.strip() for secret in secrets):
            raise ConfigurationError("a webhook secret of pixverse is empty, or has a space or a line end around it")

    @property
    def capabilities(self) -> Capabilities:
        return replace(CAPABILITIES, media_hosts=self.media_hosts)

    def callback_secrets(self, account: str) -> Sequence[str]:
        own = self.webhook_secrets if account == self.account else ()
        secrets = (*own, *self.accounts.get(account, ()))
        if not secrets:
            raise VerificationError("no webhook secret is set up for this PixVerse account")
        return secrets

    def check_ready(self) -> None:
        self._checked_webhook_id()

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        if source.kind in CAPABILITIES.takes:
            return None
        self._checked_webhook_id()
        is_url = source.kind is SourceKind.URL
        return replace(
            self._request("POST", "media/upload"),
            form={"file_url": source.text} if is_url else {},
            upload_field="file",
            upload=None if is_url else source,
            max_upload_bytes=CAPABILITIES.max_upload_bytes,
        )

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        media_id = _id(_content(response).get("media_id"))
        if media_id is None:
            raise UnreadableMessage("PixVerse's upload answer names no media_id")
        return Upload(source=VideoSource(kind=SourceKind.UPLOAD, text=media_id))

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        text = source_text(source, *CAPABILITIES.takes)
        if not _VIDEO_ID.fullmatch(text):
            raise InvalidRequest("video", text, "a PixVerse id of 1 to 19 digits", provider="pixverse")
        name = "source_video_id" if source.kind is SourceKind.PROVIDER_JOB else "video_media_id"
        return replace(
            self._request("POST", "video/extend/generate"),
            json={name: int(text), **CAPABILITIES.wire(request), "webhook_id": self._checked_webhook_id()},
        )

    def parse_submit(self, response: HTTPResponse) -> str:
        video_id = _id(_content(response, is_submit=True).get("video_id"))
        if video_id is None:
            raise_for_refused_submit(response, None)
        return video_id

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        return self._request("GET", f"video/result/{quote(provider_job_id, safe='')}")

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        if response.status == 404:
            return None
        try:
            content = _content(response)
        except BadRequest as refusal:
            if refusal.code == "500008":
                return None
            raise
        return structs.replace(_event(content), provider_job_id=provider_job_id)

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        return self.parse_status(response, provider_job_id)

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        timestamp = callback.header("webhook-timestamp")
        nonce = callback.header("webhook-nonce")
        signature = callback.header("webhook-signature")
        if not timestamp or not nonce or not signature:
            raise VerificationError("a header of PixVerse's signature is missing")
        if not _NONCE.fullmatch(nonce) or not _SIGNATURE.fullmatch(signature):
            raise VerificationError("a header of PixVerse's signature is malformed")
        # The clock first: it costs less than the forms, and the tolerance is no secret.
        sent_at = parse_unix_seconds(timestamp, what="webhook-timestamp")
        check_time(sent_at, now=now, tolerance=timedelta(seconds=self.tolerance_seconds))
        check_form_signature(callback.body, head=f"{timestamp}\n{nonce}\n", signature=signature, secrets=keys.secrets)
        return Trust.SIGNED

    def nonce(self, callback: Callback) -> str | None:
        nonce, signature = callback.header("webhook-nonce"), callback.header("webhook-signature")
        # With the signature: what was not signed anew (other spaces in the body, say) is no news.
        return f"{nonce} {signature}" if nonce and signature else None

    def parse_callback(self, callback: Callback) -> JobEvent:
        return _event(as_object(callback.json()))

    def _request(self, method: str, path: str) -> HTTPRequest:
        # A trace id that is used again is "the most common cause" of a job that never ends (PROVIDERS §2.1).
        url = f"{self.base_url.rstrip('/')}/{path}"
        return HTTPRequest(method=method, url=url, headers={"api-key": self.api_key}, fresh_id_header="ai-trace-id")

    def _checked_webhook_id(self) -> str:
        if not self.webhook_id:
            raise ConfigurationError(
                "pixverse could not call back: make a webhook at https://platform.pixverse.ai/webhook for the URL that "
                "`replyhook providers url pixverse` prints, and set pixverse's webhook_id and webhook_secrets"
            )
        return self.webhook_id


def _event(item: dict[str, Any]) -> JobEvent:
    number = _number(item.get("status"))
    status = STATUSES.get(number) if number is not None else None
    url = text_or_none(item.get("url"))
    word = str(number) if number is not None else text_or_none(item.get("status"))
    return JobEvent(
        provider_job_id=_id(item.get("id")),
        status=status,
        # ``size`` is left alone: in which unit it comes (10.5 in the sample) is not published.
        result=Asset(url=url) if status is JobStatus.SUCCEEDED and url and http_parts(url) else None,
        error=JobError(code=word, message=_FAILURES[number]) if number in _FAILURES else None,
        word=word,
    )


def _content(response: HTTPResponse, *, is_submit: bool = False) -> dict[str, Any]:
    """What the answer's ``Resp`` holds, when its ``ErrCode`` says yes: HTTP says 200 to most refusals too.

    Raises the typed refusals.
    """
    is_yes = 200 <= response.status < 300
    try:
        body = as_object(response.json())
    except UnreadableMessage:
        if is_yes and not is_submit:
            raise
        body = {}
    code = _number(body.get("ErrCode", 0))
    words = text_or_none(body.get("ErrMsg"))
    if code == 0 and is_yes:
        content = body.get("Resp")
        return content if isinstance(content, dict) else {}
    if code:
        words = f"{words or 'refused'} (ErrCode {code})"
        _raise_for_code(response, code, words)
    if is_submit:  # 99999 and what nobody has listed: the job may have been started
        raise_for_refused_submit(response, words, code=str(code) if code else None)
    raise_for_refusal(response, words, code=str(code) if code else None)


def _raise_for_code(response: HTTPResponse, code: int, words: str) -> None:
    kind = REFUSALS.get(code) or (BadRequest if 400_000 <= code < 401_000 else None)
    if kind is RateLimited:
        raise RateLimited(words, status=response.status, code=str(code), retry_after=response.retry_after)
    if kind is not None:
        raise kind(words, status=response.status, code=str(code))


def _id(value: Any) -> str | None:
    """An id as text: a number in answers, a text in callbacks, and never a float, which would make it another."""
    if isinstance(value, str):
        return value or None
    number = _number(value)
    return str(number) if number else None


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        value = int(value)  # the signature does not tell 1 from "1"
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 2**63 else None
