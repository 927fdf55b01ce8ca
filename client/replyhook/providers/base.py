"""The Provider protocol: one video vendor as pure pairs of build and parse, plus verify."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NoReturn, Protocol

import msgspec

from replyhook.errors import (
    AccountBlocked,
    BadRequest,
    CancelNotPossible,
    InsufficientCredits,
    Moderated,
    ProviderUnavailable,
    RateLimited,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    Unauthorized,
)
from replyhook.jobs import DEFAULT_ACCOUNT, ExtendRequest, JobEvent, SourceKind, Trust, VideoSource
from replyhook.messages import Callback, HTTPRequest, HTTPResponse
from replyhook.providers.capabilities import Capabilities

MaxJobs = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
"""How many of our jobs an account may be working on before the receiver submits another; 0: as many as it takes.

No vendor publishes a number that holds for every account (fal's "2 rising to 40" is where an account begins, and its
queue takes more), so none is taken for granted.
"""


class VerificationKeys(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a receiver verifies a callback with: public keys, shared secrets, and the senders it has pinned."""

    public_keys: Sequence[bytes] = ()
    secrets: Sequence[str] = ()
    senders: Sequence[str] = ()

    def __repr__(self) -> str:
        return "<VerificationKeys>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What an upload's answer leads to: the source to submit, after sending ``then`` if there is one."""

    source: VideoSource
    then: HTTPRequest | None = None


class Provider(Protocol):
    """One video vendor. ``build_*`` makes a request, ``parse_*`` reads an answer.

    Nothing here opens a socket, reads a clock or looks at the environment: the caller sends what ``build_*`` returns
    and passes ``now`` and the keys in. An implementation is a frozen dataclass whose fields are its settings.
    """

    @property
    def api_key(self) -> str:
        """The provider's key; empty where none is configured."""
        ...

    @property
    def jwks_url(self) -> str | None:
        """Where the provider publishes its public keys, if it signs with such."""
        ...

    @property
    def account(self) -> str:
        """Which of the receiver's accounts at this provider the key belongs to; ``default`` where there is one."""
        ...

    @property
    def max_jobs(self) -> int:
        """How many of our jobs its account may be working on before the receiver submits another; 0: no limit."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def sends_reply_url(self) -> bool:
        """Whether a submit tells the job's reply URL, where the provider can call one back."""
        ...

    def callback_secrets(self, account: str) -> Sequence[str]:
        """The shared secrets that this account's callbacks are signed with, newest first; none where there are none.

        Raises ``VerificationError`` for an account that is not set up.
        """
        ...

    def check_ready(self) -> None:
        """Raise ``ConfigurationError`` for a setting besides the key that no submit can do without."""
        ...

    def build_upload(self, source: VideoSource) -> HTTPRequest | None:
        """The request that uploads ``source`` first, or None where the submit takes it as it is."""
        ...

    def parse_upload(self, response: HTTPResponse, source: VideoSource) -> Upload:
        """What the upload's answer leads to. Raises the typed refusals."""
        ...

    def build_submit(self, request: ExtendRequest, source: VideoSource, *, reply_url: str, job_id: str) -> HTTPRequest:
        """The one request that spends money. ``request`` comes from ``capabilities.prepare``."""
        ...

    def parse_submit(self, response: HTTPResponse) -> str:
        """The provider's job id. Raises the typed refusals, or ``SubmitOutcomeUnknown``."""
        ...

    def build_status(self, provider_job_id: str) -> HTTPRequest:
        """The question how a job stands."""
        ...

    def parse_status(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        """The same value a callback becomes; None for "no news"."""
        ...

    def build_result(self, provider_job_id: str) -> HTTPRequest | None:
        """The question for the result, where a status answer does not hold it; else None."""
        ...

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        """The same value a callback becomes; None for "no news"."""
        ...

    def build_search(self, job_id: str) -> HTTPRequest | None:
        """The question for the job that was submitted with our id, where the provider keeps that; else None."""
        ...

    def parse_search(self, response: HTTPResponse, job_id: str) -> JobEvent | None:
        """The same value a callback becomes, with the provider's id; None where the job is not among those found."""
        ...

    def build_cancel(self, provider_job_id: str) -> HTTPRequest | None:
        """The request that cancels a job, or None where the provider cannot."""
        ...

    def parse_cancel(self, response: HTTPResponse) -> None:
        """Nothing, where the provider took the wish. Raises ``CancelNotPossible`` and the typed refusals."""
        ...

    def verify(self, callback: Callback, *, keys: VerificationKeys, now: datetime) -> Trust:
        """How far the callback is to be believed; the reply URL's token has been checked already.

        Raises ``VerificationError``; ``NoMatchingKey`` when all is in order but the keys.
        """
        ...

    def sender(self, callback: Callback) -> str | None:
        """Which account the (verified) callback says it comes from, where the scheme names one."""
        ...

    def nonce(self, callback: Callback) -> str | None:
        """What makes a (verified) callback's signature good for one use only, where the scheme has such."""
        ...

    def parse_callback(self, callback: Callback) -> JobEvent:
        """What the callback says. Raises ``UnreadableMessage``; never verifies."""
        ...


class ProviderDefaults:
    """What most providers have nothing to say to: an implementation overrides what is its own."""

    __slots__ = ()

    @property
    def jwks_url(self) -> str | None:
        return None

    @property
    def account(self) -> str:
        return DEFAULT_ACCOUNT

    @property
    def sends_reply_url(self) -> bool:
        return True

    def callback_secrets(self, account: str) -> Sequence[str]:
        return ()

    def check_ready(self) -> None:
        return None

    def build_result(self, provider_job_id: str) -> HTTPRequest | None:
        return None

    def parse_result(self, response: HTTPResponse, provider_job_id: str) -> JobEvent | None:
        return None

    def build_search(self, job_id: str) -> HTTPRequest | None:
        return None

    def parse_search(self, response: HTTPResponse, job_id: str) -> JobEvent | None:
        return None

    def build_cancel(self, provider_job_id: str) -> HTTPRequest | None:
        return None

    def parse_cancel(self, response: HTTPResponse) -> None:
        raise CancelNotPossible("the provider has no way to cancel a job")

    def sender(self, callback: Callback) -> str | None:
        return None

    def nonce(self, callback: Callback) -> str | None:
        return None


def source_text(source: VideoSource, *kinds: SourceKind) -> str:
    """The source's text when it is of one of ``kinds``; anything else is our own mistake."""
    if source.kind not in kinds:
        raise AssertionError(f"a source of kind {source.kind} reached a submit that takes {kinds}")
    return source.text


def raise_for_refusal(response: HTTPResponse, message: str | None, *, code: str | None = None) -> NoReturn:
    """Turn a provider's answer other than success into the typed error it means, where no job can have been started.

    ``message`` is the provider's own words, None where its body had none in the documented form.
    """
    status = response.status
    words = message or f"HTTP {status} without a readable reason"
    if status == 429:
        raise RateLimited(words, status=status, code=code, retry_after=response.retry_after)
    kind: type[SubmissionRefused] | None = _REFUSALS.get(status)
    if kind is not None:
        raise kind(words, status=status, code=code)
    if _leaves_open(status):
        raise ProviderUnavailable(words)
    raise BadRequest(words, status=status, code=code)


def raise_for_refused_submit(response: HTTPResponse, message: str | None, *, code: str | None = None) -> NoReturn:
    """The same for a submit, where a server error or an unreadable success may have started the job."""
    if _leaves_open(response.status):
        words = message or f"HTTP {response.status} without a readable reason"
        raise SubmitOutcomeUnknown(f"the submit's outcome is not known: {words}")
    raise_for_refusal(response, message, code=code)


def _leaves_open(status: int) -> bool:
    """Whether a job may have been started all the same: by what the status means, or because nobody documents it."""
    return 200 <= status < 400 or status in (408, 409, 425, 499) or (status >= 500 and status not in _REFUSALS)


_REFUSALS: dict[int, type[SubmissionRefused]] = {
    401: Unauthorized,
    402: InsufficientCredits,
    403: Unauthorized,
    412: InsufficientCredits,
    422: Moderated,
    596: AccountBlocked,
}
