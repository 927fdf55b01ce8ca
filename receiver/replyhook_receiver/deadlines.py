"""How long a job may stay silent, and when its provider is asked after that.

A deadline is learned: the 99th percentile of what the same kind of job (provider, quality, duration) has lately taken
to be called back. It counts from the submit, and progress does not move it: a job that tells of its progress and is
never told to have ended is missed as early as one that says nothing.

The arithmetic is pure. ``Deadlines`` remembers what was learned; where it is learned from is the store's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from replyhook.providers import CallbackKind, Capabilities
from replyhook.providers.capabilities import ASSUMED_RESULT_LIFETIME

PRIOR = timedelta(minutes=15)
"""The wait for a callback while too few have come to learn from."""

SHORTEST = timedelta(minutes=2)

UNASKED = timedelta(seconds=150)
"""The wait before a provider is asked that calls nobody back (Segmind's v2: about 99 s are typical, PROVIDERS §4.5)."""

ENOUGH = 30
"""How many real callbacks there must be of a kind of job before its wait is learned."""

REMEMBERED = 200
"""How many of the latest callbacks of a kind are looked at."""

QUESTIONS = 3
"""How often a provider is asked about a job that is overdue (P8)."""

_LEARN_EVERY = timedelta(minutes=10)

Kind = tuple[str, str | None, int | None]
"""Provider, quality, duration: jobs that differ in these take differently long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackTimes:
    """How many seconds the latest jobs of one kind took until their provider called back."""

    provider: str
    quality: str | None
    duration: int | None
    seconds: Sequence[float]


def percentile_99(seconds: Sequence[float]) -> float:
    """The smallest of ``seconds`` that at most one in a hundred exceeds."""
    return sorted(seconds)[math.ceil(len(seconds) * 0.99) - 1]


def clamped(wait: timedelta, lifetime: timedelta) -> timedelta:
    """``wait``, but at least two minutes and at most half of what the result lives."""
    return min(max(wait, SHORTEST), lifetime / 2)


def next_question(
    *, begun_at: datetime, wait: timedelta, lifetime: timedelta, attempt: int, now: datetime
) -> timedelta | None:
    """How long after the question number ``attempt`` the next is asked; None when there is none.

    The steps widen, and all lie within the result's lifetime, counted from the submit: later the result, if there was
    one, may be gone.
    """
    left = begun_at + lifetime - now
    if attempt >= QUESTIONS or left <= timedelta(0):
        return None
    return min(wait, left / 4) if attempt == 1 else min(3 * wait, left / 2)


class Deadlines:
    """What was learned so far, and what the providers' documents say of how long results live."""

    def __init__(self, capabilities: Iterable[Capabilities]) -> None:
        self._capabilities = {each.name: each for each in capabilities}
        self._learned: dict[Kind, timedelta] = {}
        self._learned_at: datetime | None = None

    def wait(self, provider: str, request: Mapping[str, Any]) -> timedelta:
        """How long after its submit a job has to be called back."""
        return clamped(self._expected(provider, request), self.lifetime(provider))

    def lifetime(self, provider: str) -> timedelta:
        """How long the provider keeps a result, as far as that is known."""
        known = self._capabilities.get(provider)
        return (known.result_lifetime if known else None) or ASSUMED_RESULT_LIFETIME

    def names_our_job(self, provider: str) -> bool:
        """Whether the provider calls back to a URL of each job's own, so that its id need not be known."""
        known = self._capabilities.get(provider)
        return known is None or known.callback is CallbackKind.PER_JOB

    def learn(self, times: Iterable[CallbackTimes]) -> None:
        """Take ``times`` for what was learned. Of kinds with too few nothing is."""
        self._learned = {
            (each.provider, each.quality, each.duration): timedelta(seconds=percentile_99(each.seconds))
            for each in times
            if len(each.seconds) >= ENOUGH
        }

    def is_due_to_learn(self, now: datetime) -> bool:
        """Whether it is time to look at the latest jobs again; who is told so is to do it."""
        is_due = self._learned_at is None or not timedelta(0) <= now - self._learned_at < _LEARN_EVERY
        if is_due:
            self._learned_at = now
        return is_due

    def _expected(self, provider: str, request: Mapping[str, Any]) -> timedelta:
        known = self._capabilities.get(provider)
        if known is not None and known.callback is CallbackKind.NONE:
            return UNASKED
        return self._learned.get(kind_of(provider, request), PRIOR)


def kind_of(provider: str, request: Mapping[str, Any]) -> Kind:
    """What a job is learned with; a request that a caller registers may hold anything at all."""
    quality, duration = request.get("quality"), request.get("duration")
    return (
        provider,
        quality if isinstance(quality, str) else None,
        duration if isinstance(duration, int) else None,
    )
