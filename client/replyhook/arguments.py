"""What a caller passes to a client, checked as far as that needs no provider."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, Required, TypedDict

from replyhook.detached import Detached
from replyhook.environment import provider_settings_from_env, with_files
from replyhook.errors import CancelNotPossible, ConfigurationError, InvalidRequest, SubmitOutcomeUnknown
from replyhook.jobs import ExtendRequest, VideoSource, checked_reference, checked_user
from replyhook.messages import HTTPRequest
from replyhook.providers import NEUTRAL_FIELDS, Provider, make_provider
from replyhook.receiver_api import ReceiverAPI
from replyhook.results import JobResult
from replyhook.routing import PREFERENCES, Preference, Tried
from replyhook.steps import Submission, Submitted

Video = str | os.PathLike[str] | bytes | BinaryIO | VideoSource

DEFAULT_PATIENCE_SECONDS = 60.0


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
        """The provider called ``name``, with or without its key. Raises ``ConfigurationError`` where there is none."""
        return make_provider(name, self.providers.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a handle knows of its job."""

    id: str
    provider: str
    reference: str | None
    request: ExtendRequest | None = None
    provider_job_id: str | None = field(default=None, repr=False)
    reply_url: str | None = field(default=None, repr=False)
    tried: Tried = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def unknown(cls, submission: Submission, error: SubmitOutcomeUnknown, *, tried: Tried) -> "Known":
        """A job that we have just submitted, as far as that can be known."""
        return replace(cls.submitted(submission, tried=tried), warnings=error.warnings)

    @classmethod
    def submitted(cls, submission: Submission, submitted: Submitted | None = None, *, tried: Tried = ()) -> "Known":
        """A job that we have just submitted; None where the outcome is not known."""
        return cls(
            id=submission.job_id,
            provider=submission.provider.capabilities.name,
            reference=submission.reference,
            request=submission.request,
            provider_job_id=submitted.provider_job_id if submitted else None,
            reply_url=submitted.reply_url if submitted else submission.reply_url,
            tried=tried,
            warnings=submitted.warnings if submitted else (),
        )

    @classmethod
    def found(cls, job: JobResult) -> "Known":
        """A job that the receiver has told us of."""
        return cls(id=job.id, provider=job.provider, reference=job.reference, provider_job_id=job.provider_job_id)


class JobArguments(TypedDict, total=False):
    """What is said of a job whoever does it; only ``video`` and ``prompt`` are required.

    ``video`` is an http(s) URL, a file's path, bytes, or ``VideoSource.provider_job(id)``. ``duration`` is the seconds
    to add. ``options`` holds the provider's own further fields by its own names. ``reply_ref`` and ``user`` are yours
    and come back in every notification. ``notify`` lists URLs (or ``{"url": …, "secret": …, "types": […]}``) to post
    signed notifications to. What each provider takes of the rest is in the README's table.

    ``prefer`` orders several providers: as they stand (``order``), or the cheapest first (``price``). ``max_price`` is
    in dollars and refuses a provider that may cost more, or does not publish what it costs. ``patience`` is how many
    seconds to wait, in all, while a provider takes no more jobs at a time; 0 does not wait.
    """

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
    prefer: Preference
    max_price: Decimal | float | None
    patience: float


class SubmitArguments(JobArguments, total=False):
    """The arguments of ``submit``: ``JobArguments``, and ``provider``: a name, several in order, or ``auto``."""

    provider: Required[str | Sequence[str]]


class EstimateArguments(JobArguments, total=False):
    """The arguments of ``estimate``: as ``submit``'s; without ``provider`` it is about all of them."""

    provider: str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was said of a job, checked as far as that needs no provider."""

    request: ExtendRequest
    source: VideoSource
    reference: str | None
    user: str | None
    notify: list[str | dict[str, Any]] = field(repr=False)
    max_price: Decimal | None
    prefer: Preference
    patience_seconds: float

    @classmethod
    def of(cls, arguments: JobArguments) -> "Job":
        """Raises ``InvalidRequest`` naming the argument."""
        wanted: dict[str, Any] = {name: arguments.get(name) for name in NEUTRAL_FIELDS}
        return cls(
            request=ExtendRequest(**wanted, options=_checked_options(arguments.get("options"))),
            source=VideoSource.of(arguments["video"]),
            reference=checked_reference(arguments.get("reply_ref")),
            user=checked_user(arguments.get("user")),
            notify=_checked_notify(arguments.get("notify") or ()),
            max_price=_checked_max_price(arguments.get("max_price")),
            prefer=_checked_preference(arguments.get("prefer", "order")),
            patience_seconds=_checked_patience(arguments.get("patience", DEFAULT_PATIENCE_SECONDS)),
        )


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if not isinstance(options, Mapping | None):
        raise InvalidRequest("options", type(options).__name__, "a mapping of the provider's own names to values")
    return dict(options or {})


def _checked_max_price(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        price = (
            Decimal(str(value)) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else None
        )
    except InvalidOperation:
        price = None
    if price is None or not price.is_finite() or price < 0:
        raise InvalidRequest("max_price", value, "dollars: a number that is not negative")
    return price


def _checked_preference(value: object) -> Preference:
    if value not in PREFERENCES:
        raise InvalidRequest("prefer", value, f"one of {', '.join(PREFERENCES)}")
    return "price" if value == "price" else "order"


def _checked_patience(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise InvalidRequest("patience", value, "seconds: a number that is not negative")


def check_on_upload(on_upload: object) -> None:
    """Raise ``InvalidRequest`` for what cannot be called."""
    if on_upload is not None and not callable(on_upload):
        raise InvalidRequest("on_upload", type(on_upload).__name__, "a function of the bytes sent and their total")


def file_path(path: Path) -> Path:
    """A path that a file can be saved as. Raises ``InvalidRequest`` for a folder."""
    if path.is_dir():
        raise InvalidRequest("path", str(path), "a file's name, not a folder's")
    return path


def _checked_notify(notify: Sequence[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
    if isinstance(notify, str | dict) or not isinstance(notify, Sequence):
        raise InvalidRequest("notify", "(not shown)", f"give a list of URLs; this is a {type(notify).__name__}")
    if not all(isinstance(entry, str | dict) for entry in notify):
        raise InvalidRequest("notify", "(not shown)", "a list of URLs, or of {'url': …, 'secret': …, 'types': […]}")
    try:
        json.dumps(list(notify), ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest("notify", "(not shown)", f"it cannot be sent as JSON: {type(error).__name__}") from error
    return list(notify)
