"""What a caller passes to a client, checked and completed before anything is sent."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Required, TypedDict
from urllib.parse import urlsplit

from replyhook.detached import Detached
from replyhook.environment import provider_settings_from_env, with_files
from replyhook.errors import CancelNotPossible, ConfigurationError, InvalidRequest
from replyhook.flows import Submission, Submitted
from replyhook.ids import new_id
from replyhook.jobs import MAX_USER_LENGTH, ExtendRequest, SourceKind, VideoSource, checked_reference
from replyhook.messages import HTTPRequest
from replyhook.providers import NEUTRAL_FIELDS, CallbackKind, Capabilities, Provider, make_provider
from replyhook.receiver_api import ReceiverAPI
from replyhook.results import JobResult
from replyhook.urls import shown_url

Video = str | os.PathLike[str] | bytes | VideoSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the receiver is (or what a detached client has instead), and the providers as they are set up."""

    receiver: ReceiverAPI | None
    providers: Mapping[str, Mapping[str, Any]] = field(repr=False)
    detached: Detached | None = None

    @classmethod
    def build(
        cls,
        receiver_url: str | None,
        api_key: str | None,
        provider_keys: Mapping[str, str] | None,
        providers: Mapping[str, Mapping[str, Any]] | None,
        reply_keys: Sequence[str] | None = None,
        public_url: str | None = None,
    ) -> "ClientSettings":
        """Check everything a client is made of. Raises ``ConfigurationError``."""
        merged: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (providers or {}).items()}
        for name, key in (provider_keys or {}).items():
            merged.setdefault(name, {})["api_key"] = key
        for name, values in merged.items():
            make_provider(name, values)
        if reply_keys:
            if receiver_url or api_key:
                raise ConfigurationError(
                    "give receiver_url and api_key or, detached, reply_keys and public_url; not both"
                )
            return cls(receiver=None, providers=merged, detached=Detached.build(reply_keys, public_url))
        if public_url:
            raise ConfigurationError("public_url goes with reply_keys; others get their reply URLs from the receiver")
        return cls(receiver=ReceiverAPI(url=receiver_url or "", api_key=api_key or ""), providers=merged)

    @staticmethod
    def arguments_from_env(environ: Mapping[str, str]) -> dict[str, Any]:
        """A client's arguments from the environment. Raises ``ConfigurationError`` naming all that is missing."""
        environ = with_files(environ)
        providers = provider_settings_from_env(environ)
        if environ.get("REPLYHOOK_REPLY_KEYS") and not environ.get("REPLYHOOK_API_KEY"):
            keys = [key.strip() for key in environ["REPLYHOOK_REPLY_KEYS"].split(",") if key.strip()]
            return {"reply_keys": keys, "public_url": environ.get("REPLYHOOK_PUBLIC_URL"), "providers": providers}
        missing = [name for name in ("REPLYHOOK_RECEIVER_URL", "REPLYHOOK_API_KEY") if not environ.get(name)]
        if missing:
            raise ConfigurationError(f"set {' and '.join(missing)}")
        return {
            "receiver_url": environ["REPLYHOOK_RECEIVER_URL"],
            "api_key": environ["REPLYHOOK_API_KEY"],
            "providers": providers,
        }

    def need_receiver(self, what: str) -> ReceiverAPI:
        """The receiver, for ``what``. Raises ``ConfigurationError`` where this client is detached."""
        if self.receiver is None:
            raise ConfigurationError(
                f"{what} needs the receiver's word, and this client is detached: it has no API key. Make a client with "
                "receiver_url= and api_key= and find the job with client.job(id)"
            )
        return self.receiver

    def cancel(self, name: str, provider_job_id: str | None) -> tuple[Provider, HTTPRequest]:
        """The request that asks a provider to cancel its job. Raises ``CancelNotPossible``."""
        provider = make_provider(name, self.providers.get(name))
        capabilities = provider.capabilities
        if not capabilities.can_cancel:
            raise CancelNotPossible(f"{name} has no way to cancel a job")
        if not provider.api_key:
            raise CancelNotPossible(f"only who holds {name}'s key can cancel there: set {capabilities.key_variable}")
        request = provider.build_cancel(provider_job_id) if provider_job_id else None
        if request is None:
            raise CancelNotPossible(f"{name}'s own id of the job is not known")
        return provider, request

    def provider(self, name: str) -> Provider:
        """The provider called ``name``, with its key. Raises ``ConfigurationError`` when either is not there."""
        provider = make_provider(name, self.providers.get(name))
        is_relayed = provider.capabilities.callback is CallbackKind.NONE  # then the key is the receiver's
        if not provider.api_key and not is_relayed:
            variable = provider.capabilities.key_variable
            raise ConfigurationError(f"no API key for {name}: pass provider_keys={{{name!r}: …}} or set {variable}")
        return provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a handle knows of its job."""

    id: str
    provider: str
    reference: str | None
    request: ExtendRequest | None = None
    provider_job_id: str | None = field(default=None, repr=False)
    reply_url: str | None = field(default=None, repr=False)

    @classmethod
    def submitted(cls, submission: Submission, submitted: Submitted | None = None) -> "Known":
        """A job that we have just submitted; None where the outcome is not known."""
        return cls(
            id=submission.job_id,
            provider=submission.provider.capabilities.name,
            reference=submission.reference,
            request=submission.request,
            provider_job_id=submitted.provider_job_id if submitted else None,
            reply_url=submitted.reply_url if submitted else submission.reply_url,
        )

    @classmethod
    def found(cls, job: JobResult) -> "Known":
        """A job that the receiver has told us of."""
        return cls(id=job.id, provider=job.provider, reference=job.reference, provider_job_id=job.provider_job_id)


class SubmitArguments(TypedDict, total=False):
    """The arguments of ``submit``; only ``provider``, ``video`` and ``prompt`` are required.

    ``video`` is an http(s) URL, a file's path, bytes, or ``VideoSource.provider_job(id)``. ``duration`` is the seconds
    to add. ``options`` holds the provider's own further fields by its own names. ``reply_ref`` and ``user`` are yours
    and come back in every notification. ``notify`` lists URLs (or ``{"url": …, "secret": …, "types": […]}``) to post
    signed notifications to. What each provider takes of the rest is in the README's table.
    """

    provider: Required[str]
    video: Required[Video]
    prompt: Required[str]
    duration: int | None
    quality: str | None
    style: str | None
    seed: int | None
    negative_prompt: str | None
    audio: bool | None
    motion_mode: str | None
    model: str | None
    watermark: bool | None
    options: Mapping[str, Any] | None
    reply_ref: str | None
    user: str | None
    notify: Sequence[str | dict[str, Any]]


def prepare(settings: ClientSettings, arguments: SubmitArguments) -> Submission:
    """Everything one submit is made of. Raises ``InvalidRequest`` and ``ConfigurationError``; sends nothing.

    Like any call, ``TypeError`` for an argument that is not there or missing.
    """
    unknown = set(arguments) - set(SubmitArguments.__annotations__)
    missing = SubmitArguments.__required_keys__ - set(arguments)
    if unknown or missing:
        what = f"has no argument {min(unknown)!r}" if unknown else f"needs {', '.join(sorted(missing))}"
        raise TypeError(f"submit() {what}")
    name = arguments["provider"]
    capabilities = settings.provider(name).capabilities
    wanted: dict[str, Any] = {field: arguments.get(field) for field in NEUTRAL_FIELDS}
    request = ExtendRequest(**wanted, options=_checked_options(arguments.get("options")))
    submission = Submission(
        job_id=new_id("job"),
        provider=settings.provider(name),
        request=capabilities.prepare(request),
        source=_checked_source(arguments["video"], capabilities),
        reference=checked_reference(arguments.get("reply_ref")),
        user=_checked_user(arguments.get("user")),
        notify=_checked_notify(arguments.get("notify") or ()),
    )
    return settings.detached.prepare(submission) if settings.detached else submission


def _checked_source(video: Video, capabilities: Capabilities) -> VideoSource:
    source = VideoSource.of(video)
    possible = capabilities.takes | capabilities.uploads
    if source.kind not in possible:
        kinds = ", ".join(sorted(possible))
        raise InvalidRequest("video", source.kind.value, f"it takes {kinds}", provider=capabilities.name)
    if source.kind in capabilities.uploads:
        _check_upload(source, capabilities)
    return source


def _check_upload(source: VideoSource, capabilities: Capabilities) -> None:
    sizes = {SourceKind.FILE: lambda: Path(source.text).stat().st_size, SourceKind.DATA: lambda: len(source.data)}
    size = sizes[source.kind]() if source.kind in sizes else None
    limit = capabilities.max_upload_bytes
    if size is not None and limit is not None and size > limit:
        raise InvalidRequest("video", f"{size} bytes", f"at most {limit} bytes", provider=capabilities.name)
    suffix = PurePosixPath(urlsplit(source.text).path).suffix.lower() if source.text else ""
    if capabilities.upload_suffixes and suffix and suffix not in capabilities.upload_suffixes:
        allowed = f"a file that ends in {', '.join(capabilities.upload_suffixes)}"
        raise InvalidRequest("video", shown_url(source.text), allowed, provider=capabilities.name)


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if not isinstance(options, Mapping | None):
        raise InvalidRequest("options", type(options).__name__, "a mapping of the provider's own names to values")
    return dict(options or {})


def file_path(path: Path) -> Path:
    """A path that a file can be saved as. Raises ``InvalidRequest`` for a folder."""
    if path.is_dir():
        raise InvalidRequest("path", str(path), "a file's name, not a folder's")
    return path


def _checked_user(user: object) -> str | None:
    if user is None:
        return None
    if not isinstance(user, str) or not 0 < len(user) <= MAX_USER_LENGTH:
        raise InvalidRequest("user", user, f"a text of 1 to {MAX_USER_LENGTH} characters")
    return user


def _checked_notify(notify: Sequence[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
    if isinstance(notify, str | dict) or not isinstance(notify, Sequence):
        raise InvalidRequest("notify", type(notify).__name__, "give a list of URLs")
    if not all(isinstance(entry, str | dict) for entry in notify):
        raise InvalidRequest("notify", "(not shown)", "a list of URLs, or of {'url': …, 'secret': …, 'types': […]}")
    return list(notify)
