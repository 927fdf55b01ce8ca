"""What a caller passes to a client, checked as far as that needs no provider."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Required, TypedDict

from replyhook.environment import provider_settings_from_env, with_files
from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook.jobs import ExtendRequest, VideoSource, checked_reference
from replyhook.providers import NEUTRAL_FIELDS, Provider, make_provider
from replyhook.receiver_api import ReceiverAPI
from replyhook.routing import PREFERENCES, Preference

Video = str | os.PathLike[str] | bytes | VideoSource

MAX_USER_LENGTH = 256
DEFAULT_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the receiver is, and the providers as they are set up."""

    receiver: ReceiverAPI
    providers: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @classmethod
    def build(
        cls,
        receiver_url: str,
        api_key: str,
        provider_keys: Mapping[str, str] | None,
        providers: Mapping[str, Mapping[str, Any]] | None,
    ) -> "ClientSettings":
        """Check everything a client is made of. Raises ``ConfigurationError``."""
        merged: dict[str, dict[str, Any]] = {name: dict(values) for name, values in (providers or {}).items()}
        for name, key in (provider_keys or {}).items():
            merged.setdefault(name, {})["api_key"] = key
        for name, values in merged.items():
            make_provider(name, values)
        return cls(receiver=ReceiverAPI(url=receiver_url, api_key=api_key), providers=merged)

    @staticmethod
    def arguments_from_env(environ: Mapping[str, str]) -> dict[str, Any]:
        """A client's arguments from the environment. Raises ``ConfigurationError`` naming all that is missing."""
        environ = with_files(environ)
        missing = [name for name in ("REPLYHOOK_RECEIVER_URL", "REPLYHOOK_API_KEY") if not environ.get(name)]
        if missing:
            raise ConfigurationError(f"set {' and '.join(missing)}")
        return {
            "receiver_url": environ["REPLYHOOK_RECEIVER_URL"],
            "api_key": environ["REPLYHOOK_API_KEY"],
            "providers": provider_settings_from_env(environ),
        }

    def provider(self, name: str) -> Provider:
        """The provider called ``name``, with or without its key. Raises ``ConfigurationError`` where there is none."""
        return make_provider(name, self.providers.get(name))


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
            user=_checked_user(arguments.get("user")),
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
