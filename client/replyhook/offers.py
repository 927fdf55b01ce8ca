"""What each provider can do, as plain values to show or to choose by."""

from dataclasses import dataclass
from datetime import timedelta

from replyhook.jobs import SourceKind
from replyhook.pricing import Pricing
from replyhook.providers import PROVIDERS, Capabilities, make_provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One provider. ``durations`` are the seconds it adds; an empty tuple means that it has no such setting.

    Limits that hold only in company ("1080p: no 8 seconds") are in ``notes``; ``Client.estimate`` checks a whole
    request. ``sources`` are ``url``, ``file``, ``data`` (bytes) and ``provider_job`` (an earlier video's id).
    ``result_lifetime`` and ``pricing`` are None where they are not published.
    """

    name: str
    title: str
    durations: tuple[int, ...]
    qualities: tuple[str, ...]
    styles: tuple[str, ...]
    audio: bool
    sources: tuple[str, ...]
    callback: str
    signed: bool
    reports_progress: bool
    can_cancel: bool
    result_lifetime: timedelta | None
    pricing: Pricing | None
    key_variable: str
    notes: tuple[str, ...]


def providers() -> tuple[Offer, ...]:
    """What every provider can do, by name. Nothing is asked of anybody: it is what their documents say."""
    return tuple(_offer(make_provider(name).capabilities) for name in sorted(PROVIDERS))


def _offer(capabilities: Capabilities) -> Offer:
    kinds = capabilities.takes | capabilities.uploads
    return Offer(
        name=capabilities.name,
        title=capabilities.title,
        durations=_durations(capabilities),
        qualities=_choices(capabilities, "quality"),
        styles=_choices(capabilities, "style"),
        audio=capabilities.field("audio") is not None,
        sources=tuple(kind.value for kind in SourceKind if kind in kinds and kind is not SourceKind.UPLOAD),
        callback=capabilities.callback.value,
        signed=capabilities.signed,
        reports_progress=capabilities.reports_progress,
        can_cancel=capabilities.can_cancel,
        result_lifetime=capabilities.result_lifetime,
        pricing=capabilities.pricing,
        key_variable=capabilities.key_variable,
        notes=(*(rule.words for rule in capabilities.rules), *capabilities.notes),
    )


def _durations(capabilities: Capabilities) -> tuple[int, ...]:
    entry = capabilities.field("duration")
    if entry is None or entry.choices:
        return entry.choices if entry else ()
    return tuple(range(entry.minimum or 1, (entry.maximum or 0) + 1))


def _choices(capabilities: Capabilities, name: str) -> tuple[str, ...]:
    entry = capabilities.field(name)
    return entry.choices if entry else ()
