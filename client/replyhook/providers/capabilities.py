"""What a provider can do, as values: its fields with their limits, and the checks made before anything is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from replyhook.errors import InvalidRequest
from replyhook.jobs import ExtendRequest, SourceKind, is_sendable
from replyhook.pricing import Price, Pricing

NEUTRAL_FIELDS = (
    "prompt",
    "duration",
    "quality",
    "style",
    "seed",
    "negative_prompt",
    "audio",
    "motion_mode",
    "model",
    "watermark",
)
"""The fields of ``ExtendRequest`` that every provider either takes, each under its own name, or refuses by name."""

ASSUMED_RESULT_LIFETIME = timedelta(hours=1)
"""How long a result is taken to live where no provider document says it (DESIGN §4, issue of the five providers)."""


USUAL_BUSY_PAUSE_SECONDS = (10.0, 30.0)
"""How long a provider that works on all it takes is left alone where its documents say nothing.

useapi.net asks for it (seed 004), also where it only passes on what PixVerse said.
"""


class CallbackKind(StrEnum):
    """How a provider is asked to call back."""

    PER_JOB = "a URL per job"
    ACCOUNT = "one webhook per account"
    NONE = "cannot: its answer is relayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing a provider takes: our ``name``, its ``wire`` name, and what is allowed.

    ``required`` means the provider wants it; ``fill`` is then sent when the caller leaves it out. ``default`` is what
    the provider documents that it assumes itself. ``source`` is where the limits stand.
    """

    name: str
    wire: str
    type: type
    source: str
    required: bool = False
    fill: Any = None
    default: Any = None
    choices: tuple[Any, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None

    @property
    def allowed(self) -> str:
        """What would do, in words."""
        if self.choices:
            return f"one of {', '.join(str(choice) for choice in self.choices)}"
        if self.type is int:
            return (
                f"a whole number from {self.minimum} to {self.maximum}"
                if self.maximum is not None
                else ("a whole number")
            )
        if self.type is bool:
            return "True or False"
        return f"a text of 1 to {self.max_length} characters" if self.max_length else "a text that is not empty"

    def check(self, value: Any, *, provider: str) -> None:
        """Raise ``InvalidRequest`` naming this field unless ``value`` is allowed."""
        right_type = isinstance(value, self.type) and (self.type is bool or not isinstance(value, bool))
        fits = right_type and (
            (not self.choices or value in self.choices)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.max_length is None or len(value) <= self.max_length)
            and value != ""
            and (not isinstance(value, str) or is_sendable(value))
        )
        if not fits:
            raise InvalidRequest(self.name, value, self.allowed, provider=provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A limit that holds only in company: when ``when`` is asked for, ``name`` may only be one of ``allowed``."""

    when: tuple[str, Any]
    name: str
    allowed: tuple[Any, ...]
    source: str

    @property
    def words(self) -> str:
        """The limit in words, for a list of limits."""
        allowed = ", ".join(str(choice) for choice in self.allowed) or "nothing"
        return f"with `{self.when[0]}` {self.when[1]} only `{self.name}` {allowed}"

    def check(self, request: ExtendRequest, *, provider: str) -> None:
        """Raise ``InvalidRequest`` naming the field that this rule forbids."""
        other, trigger = self.when
        value = getattr(request, self.name)
        if getattr(request, other) == trigger and value is not None and value not in self.allowed:
            words = ", ".join(str(choice) for choice in self.allowed)
            allowed = f"only {words} with {other}={trigger!r}" if words else f"leave it out with {other}={trigger!r}"
            raise InvalidRequest(self.name, value, allowed, provider=provider)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Everything about a provider that can be known without asking it.

    ``result_lifetime`` is how long the provider's link lives, None where no document says it. ``media_hosts`` are the
    only hosts results are downloaded from; one that begins with a dot stands for every host below it. ``takes``
    are the kinds of source the submit itself accepts, ``uploads`` those that can be uploaded first.
    ``id_is_personal`` says that the provider's job id holds personal details and must not be shown.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    options: tuple[Field, ...] = ()
    rules: tuple[Rule, ...] = ()
    takes: frozenset[SourceKind]
    uploads: frozenset[SourceKind] = frozenset()
    max_upload_bytes: int | None = None
    max_upload_seconds: int | None = None
    """Published as a whole number: what is less than a second over it is the provider's to judge."""
    max_upload_side_pixels: int | None = None
    upload_suffixes: tuple[str, ...] = ()
    """Endings of the files that may be uploaded; empty where no document says."""
    callback: CallbackKind
    signed: bool
    reports_progress: bool
    can_cancel: bool
    result_lifetime: timedelta | None
    media_hosts: tuple[str, ...] = ()
    id_is_personal: bool = False
    key_variable: str
    """The environment variable people already keep this provider's key in."""
    pricing: Pricing | None = None
    """None where what an extend costs is not published."""
    busy_pause_seconds: tuple[float, float] | None = USUAL_BUSY_PAUSE_SECONDS
    """From and to how long to wait when it takes no more at a time and says no time; None: it asks not to be asked."""
    notes: tuple[str, ...] = ()

    def field(self, name: str) -> Field | None:
        """The field of ours called ``name``, or None where the provider has nothing like it."""
        return next((entry for entry in self.fields if entry.name == name), None)

    def prepare(self, request: ExtendRequest) -> ExtendRequest:
        """The request checked against every documented limit, with what the provider requires filled in.

        Raises ``InvalidRequest`` naming the field, the value and what is allowed.
        """
        filled: dict[str, Any] = {}
        for name in NEUTRAL_FIELDS:
            value = getattr(request, name)
            entry = self.field(name)
            if entry is None:
                if value is not None:
                    raise InvalidRequest(
                        name, value, f"{self.title} has no such setting; leave it out", provider=self.name
                    )
                continue
            if value is None and entry.required:
                if entry.fill is None:
                    raise InvalidRequest(name, value, f"it is required: {entry.allowed}", provider=self.name)
                value = filled[name] = entry.fill
            if value is not None:
                entry.check(value, provider=self.name)
        completed = replace(request, **filled)
        for rule in self.rules:
            rule.check(completed, provider=self.name)
        self._check_options(completed.options)
        return completed

    def price(self, request: ExtendRequest) -> Price | None:
        """What the (prepared) request costs, or None where that is not published."""
        named = {name: getattr(request, name) for name in ("duration", "quality", "audio")}
        for name, value in named.items():
            entry = self.field(name)
            named[name] = entry.default if value is None and entry is not None else value
        if self.pricing is None or named["duration"] is None:
            return None
        return self.pricing.of(seconds=named["duration"], quality=named["quality"] or "", audio=bool(named["audio"]))

    def _check_options(self, options: Mapping[str, Any]) -> None:
        known = {entry.wire: entry for entry in self.options}
        for name, value in options.items():
            if name not in known:
                allowed = f"its options are {', '.join(known)}" if known else "it has no options of its own"
                raise InvalidRequest(f"options[{name!r}]", value, allowed, provider=self.name)
            known[name].check(value, provider=self.name)

    def wire(self, request: ExtendRequest) -> dict[str, Any]:
        """The request under the provider's own names; what was not asked for is absent, never null."""
        named = {entry.wire: getattr(request, entry.name) for entry in self.fields}
        return {name: value for name, value in {**named, **request.options}.items() if value is not None}

    def allows_host(self, host: str) -> bool:
        """Whether results are downloaded from ``host`` (lower case, without a port)."""
        return any(host.endswith(entry) if entry.startswith(".") else host == entry for entry in self.media_hosts)
