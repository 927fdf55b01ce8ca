"""The plain values everything speaks of: a video source, an extend request, a status, an event, an asset."""

import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import msgspec

from replyhook.errors import InvalidRequest
from replyhook.local_video import FileMark, check_opened
from replyhook.urls import http_parts, shown_url

MAX_REFERENCE_LENGTH = 1024
MAX_USER_LENGTH = 256
DEFAULT_ACCOUNT = "default"
MEDIA_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}
"""Of videos, by the ending of the name."""


class JobStatus(StrEnum):
    """Where a job stands. What may follow what is the receiver's ``lifecycle``."""

    __hash__ = str.__hash__  # an enum's own is slow, and these are looked up for every callback

    CREATED = "created"
    UNKNOWN = "unknown"
    SUBMITTED = "submitted"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the provider has said its last word."""
        return self in _TERMINAL


_TERMINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


class AssetStatus(StrEnum):
    """Where a job's video stands on its way into our storage."""

    NONE = "none"
    PENDING = "pending"
    DOWNLOADING = "downloading"
    STORED = "stored"
    FAILED = "failed"
    EXPIRED = "expired"


class Trust(StrEnum):
    """What makes us believe a report."""

    __hash__ = str.__hash__

    SIGNED = "signed"
    TOKEN_ONLY = "token_only"  # noqa: S105 - a word, not a secret
    RELAYED = "relayed"
    RECONCILED = "reconciled"


class SourceKind(StrEnum):
    """How the video to extend is given."""

    URL = "url"
    FILE = "file"
    DATA = "data"
    UPLOAD = "upload"
    PROVIDER_JOB = "provider_job"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSource:
    """The video to extend.

    ``text`` is the URL, the file's path, the provider's word for an upload (useapi's ``path``), or the provider's id
    of an earlier job, as ``kind`` says; ``data`` holds the bytes for ``kind=DATA``. A file that is open already is
    ``opened``; it is read from where it stands, and is not closed. ``mark`` is what the file was like.
    """

    kind: SourceKind
    text: str = field(default="", repr=False)
    data: bytes = field(default=b"", repr=False)
    opened: BinaryIO | None = field(default=None, repr=False)
    mark: FileMark | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, video: "str | os.PathLike[str] | bytes | BinaryIO | VideoSource") -> "VideoSource":
        """Understand what a caller passes as ``video``: an http(s) URL, a path, an open file, bytes, or a ready source.

        Raises ``InvalidRequest`` for anything else, and for a file that is not there or empty.
        """
        match video:
            case VideoSource():
                return video._checked()
            case bytes():
                return cls(kind=SourceKind.DATA, data=video)._checked()
            case str() if "://" in video:
                return cls(kind=SourceKind.URL, text=video)._checked()
            case str() | os.PathLike():
                return cls(kind=SourceKind.FILE, text=os.fspath(video))._checked()
            case _ if hasattr(video, "read"):
                check_opened(video)
                return cls(kind=SourceKind.FILE, text=_name_of(video), opened=video)._checked()
            case _:
                allowed = "give an http(s) URL, a path, an open binary file or bytes"
                raise InvalidRequest("video", type(video).__name__, allowed)

    def _checked(self) -> "VideoSource":
        match self.kind:
            case SourceKind.DATA if not self.data:
                raise InvalidRequest("video", b"", "the bytes are empty")
            case SourceKind.URL if http_parts(self.text) is None:
                allowed = "an http:// or https:// URL with a host; no spaces or control characters"
                raise InvalidRequest("video", shown_url(self.text), allowed)
            case SourceKind.FILE:
                return self._marked()
            case SourceKind.UPLOAD | SourceKind.PROVIDER_JOB if not self.text:
                raise InvalidRequest("video", self.text, "the provider's id of the video is empty")
        return self

    def _marked(self) -> "VideoSource":
        if self.opened is None and not _is_file(self.text):
            raise InvalidRequest("video", self.text, "give an http(s) URL, an existing file, or bytes")
        try:
            mark = FileMark.of_path(self.text) if self.opened is None else FileMark.of_opened(self.opened)
        except (OSError, ValueError) as error:
            raise InvalidRequest("video", self.text, f"it cannot be read: {type(error).__name__}") from error
        if not mark.size_bytes:
            allowed = "it is empty" if self.opened is None else "it has no bytes after where it stands: rewind it"
            raise InvalidRequest("video", self.text, allowed)
        return replace(self, mark=mark)

    @property
    def size_bytes(self) -> int | None:
        """How large it is, where that is known without asking anybody."""
        if self.kind is SourceKind.DATA:
            return len(self.data)
        return self.mark.size_bytes if self.mark is not None else None

    @property
    def media_type(self) -> str:
        """Its media type, as far as its name's ending tells it; else MP4's."""
        return MEDIA_TYPES.get(self.suffix, MEDIA_TYPES[".mp4"])

    @property
    def suffix(self) -> str:
        """Its name's ending with the dot, in lower case; empty where it has none."""
        is_url = self.kind is SourceKind.URL
        path = PurePosixPath(urlsplit(self.text).path) if is_url else PurePath(self.text)
        return path.suffix.lower()

    @property
    def upload_name(self) -> str:
        """What it is called for a provider: the caller's own name for it stays here."""
        return f"video{self.suffix if self.suffix in MEDIA_TYPES else '.mp4'}"

    @classmethod
    def provider_job(cls, provider_job_id: str) -> "VideoSource":
        """An earlier video of the same provider, by the provider's own id."""
        return cls(kind=SourceKind.PROVIDER_JOB, text=provider_job_id)


def _name_of(file: Any) -> str:
    name = getattr(file, "name", "")  # a number where it was opened by its descriptor
    return name if isinstance(name, str) else ""


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except ValueError:  # a NUL in it
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendRequest:
    """What the caller wants, in our words. None means: not asked for, so not sent.

    ``duration`` is in whole seconds to add. ``options`` holds the provider's own further fields by the provider's own
    names. What each provider takes is in its ``capabilities``.
    """

    prompt: str = field(repr=False)
    duration: int | None = None
    quality: str | None = None
    style: str | None = None
    seed: int | None = None
    negative_prompt: str | None = field(default=None, repr=False)
    audio: bool | None = None
    motion_mode: str | None = None
    model: str | None = None
    watermark: bool | None = None
    options: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a provider says a job failed: its code, where it has one, and its words."""

    code: str | None
    message: str


class Asset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The resulting video as the provider offers it. ``expires_at`` only where the provider says so."""

    url: str
    expires_at: datetime | None = None
    content_type: str | None = None
    bytes: int | None = None

    def __repr__(self) -> str:
        return f"<Asset {self.content_type}>"  # its link may be signed


class JobEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One normalised fact about a job, from a callback or a status answer: the two become the same value.

    ``status`` is None where the provider used a word we do not know (``word`` keeps it). A success whose result the
    provider did not include has ``status=SUCCEEDED`` and no ``result``: it is not yet a success.
    ``progress`` is 0 to 100, or None.
    """

    provider_job_id: str | None
    status: JobStatus | None
    progress: int | None = None
    result: Asset | None = None
    error: JobError | None = None
    word: str | None = None
    aliases: tuple[str, ...] = ()
    """Further ids by which the provider may mean the same job (fal's ``gateway_request_id``)."""
    job_id: str | None = None
    """Our own job id, where the provider echoes it (useapi's ``replyRef``)."""

    def __repr__(self) -> str:
        return f"<JobEvent {self.status or self.word!r}>"  # the provider's id may be personal


def checked_reference(reference: object, *, field: str = "reply_ref") -> str | None:
    """The caller's own id for a job, called ``field`` where it was given.

    Raises ``InvalidRequest`` when it is empty, over 1,024 characters, or holds control characters.
    """
    return _checked_text(reference, field, MAX_REFERENCE_LENGTH)


def checked_user(user: object) -> str | None:
    """Whose job it is. Raises ``InvalidRequest`` as ``checked_reference`` does, over 256 characters."""
    return _checked_text(user, "user", MAX_USER_LENGTH)


def _checked_text(text: object, field: str, longest: int) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or not text:
        raise InvalidRequest(field, text, "give a text that is not empty")
    if len(text) > longest:
        raise InvalidRequest(field, text, f"a text of 1 to {longest} characters")
    if not is_clean(text):
        raise InvalidRequest(field, text, "no control characters, and no halves of a character (surrogates)")
    return text


def is_clean(text: str) -> bool:
    """Whether a text has no control characters and can be sent at all: half of a surrogate pair cannot."""
    return is_sendable(text) and not any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def is_sendable(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
