"""Which provider gets a job: which can do it, what it costs there, and who is next when one says no.

The next provider is asked only after an answer that certainly started nothing and that says nothing about the job: no
key, no credits, too many at a time, a blocked account, nobody there. A provider that does not like the request or the
video is not passed over: elsewhere the same would be refused too, or slip through a moderation that has just said no.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Literal

from replyhook.errors import (
    AccountBlocked,
    InsufficientCredits,
    InvalidRequest,
    NoProviderLeft,
    ProviderUnavailable,
    RateLimited,
    ReplyhookError,
    Unauthorized,
)
from replyhook.flows import is_the_end, submit
from replyhook.messages import HTTPResponse
from replyhook.patience import Patience
from replyhook.pricing import Price
from replyhook.providers import PROVIDERS, CallbackKind, make_provider
from replyhook.receiver_api import ReceiverAPI
from replyhook.steps import Step, Submission, Submitted

AUTO = "auto"
Preference = Literal["order", "price"]
PREFERENCES = ("order", "price")
Tried = tuple[tuple[str, ReplyhookError], ...]

_NEXT_MAY_TAKE_IT = (Unauthorized, InsufficientCredits, RateLimited, AccountBlocked, ProviderUnavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one provider would make of a job, without asking it.

    ``price`` is None where it is not published; ``problem`` is why the provider would not get the job, None if it may.
    """

    provider: str
    price: Price | None
    problem: ReplyhookError | None

    def __str__(self) -> str:
        return f"{self.provider}: {self.problem or self.price or 'price not published'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An estimate, and the submit itself where there can be one."""

    estimate: Estimate
    submission: Submission | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The submits to try, first to last, and why other providers are not among them.

    ``is_choice`` says that the caller left the choice to us, even if only one is left.
    """

    submissions: Sequence[Submission]
    skipped: Tried = ()
    is_choice: bool = False


def auto_order() -> tuple[str, ...]:
    """Every provider as ``auto`` goes through them.

    Those that sign their callbacks come first, and relayed ones last: their refusal comes after the submit has
    returned, when nobody can go on to the next.
    """

    def rank(name: str) -> tuple[bool, bool]:
        capabilities = make_provider(name).capabilities
        return capabilities.callback is CallbackKind.NONE, not capabilities.signed

    return tuple(sorted(sorted(PROVIDERS), key=rank))


def check_price(price: Price | None, max_price: Decimal | None, *, provider: str) -> None:
    """Raise ``InvalidRequest`` unless the job certainly costs no more than ``max_price``."""
    if max_price is None or (price is not None and price.highest <= max_price):
        return
    costs = f"it costs {price} there" if price else "its price is not published"
    raise InvalidRequest("max_price", str(max_price), costs, provider=provider)


def choose(candidates: Sequence[Candidate], prefer: Preference) -> Plan:
    """Who is asked, and in which order: ties keep theirs. Raises ``NoProviderLeft`` when nobody is.

    By price it is the most that a job may cost; not published comes last.
    """
    submissions = {each.estimate.provider: each.submission for each in candidates if each.submission is not None}
    order = ranked([each.estimate for each in candidates], prefer)
    skipped = tuple((each.provider, each.problem) for each in order if each.problem is not None)
    if not submissions:
        raise NoProviderLeft(skipped)
    ready = [submissions[each.provider] for each in order if each.problem is None]
    return Plan(submissions=ready, skipped=skipped, is_choice=True)


def ranked(estimates: Sequence[Estimate], prefer: Preference) -> tuple[Estimate, ...]:
    """The estimates as their providers are asked, those with a problem last; ties keep their order."""

    def rank(estimate: Estimate) -> tuple[bool, Decimal]:
        is_by_price = prefer == "price" and estimate.problem is None
        most = estimate.price.highest if estimate.price is not None else Decimal("Infinity")
        return estimate.problem is not None, most if is_by_price else Decimal(0)

    return tuple(sorted(estimates, key=rank))


class Routing:
    """One submit on its way through a plan. ``submission`` is the one under way, ``tried`` those that are over."""

    def __init__(self, plan: Plan, receiver: ReceiverAPI | None, patience: Patience) -> None:
        self._plan = plan
        self._receiver = receiver
        self._patience = patience
        self.submission = plan.submissions[0]
        self.tried: Tried = ()

    def steps(self) -> Generator[Step, HTTPResponse | None, Submitted]:
        """Submit to one provider after another until one takes the job or may have taken it.

        Each is a job of its own, with a reply URL of its own. Raises what ``flows.submit`` raises, with ``tried``, and
        ``NoProviderLeft``.
        """
        for submission in self._plan.submissions:
            self.submission = submission
            name = submission.provider.capabilities.name
            passes_on = is_the_end if submission is self._plan.submissions[-1] else partial(self._passes_on, submission)
            try:
                return (yield from submit(submission, self._receiver, self._patience, passes_on))
            except ReplyhookError as error:
                if not self._passes_on(submission, error):
                    error.tried = self.tried
                    raise
                self.tried = (*self.tried, (name, error))
        left = NoProviderLeft((*self._plan.skipped, *self.tried))
        left.tried = self.tried
        raise left from self.tried[-1][1]

    def _passes_on(self, submission: Submission, error: ReplyhookError) -> bool:
        return self._plan.is_choice and _is_passed_on(error, submission)


def _is_passed_on(error: ReplyhookError, submission: Submission) -> bool:
    if submission.provider.capabilities.callback is CallbackKind.NONE and isinstance(error, InvalidRequest):
        # The receiver has no key for it: it refuses the provider by name, before anything is sent there.
        return error.field == "provider"
    return isinstance(error, _NEXT_MAY_TAKE_IT)
