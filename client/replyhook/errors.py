"""Every error this library raises.

* ReplyhookError
  + ConfigurationError         a key, an address or a setting is missing or cannot be right
  + InvalidRequest             what was asked breaks a documented limit; nothing was sent
  + UnreadableMessage          a provider or the receiver said something we cannot read
  + VerificationError          a callback or notification did not prove where it came from
    - OtherSender              it names another user of the provider's than the pinned ones
    - NoMatchingKey            well-formed and timely, but no key we hold made its signature
  + KeysUnavailable            the keys to verify with could not be had; ask again later
  + SubmissionRefused          the provider said no; nothing was started, nothing is billed
    - BadRequest               it did not like the request
    - Unauthorized             it did not accept the API key
    - InsufficientCredits      the account has no credits left
    - Moderated                its moderation refused the prompt or the video
    - RateLimited              too many jobs or requests at once; ask again later
    - AccountBlocked           the account needs its owner's attention
  + ProviderUnavailable        the provider could not be reached or could not answer; nothing was started
  + SubmitOutcomeUnknown       the submit may or may not have reached the provider; never sent again
  + NoProviderLeft             none of several providers could do it, had a key, or took it; nothing was started
  + ReceiverError              the receiver refused a call
    - ReceiverUnavailable      the receiver could not be reached or could not answer; ask again later
    - JobNotFound              the receiver knows no such job
    - JobConflict              the receiver knows the job with other contents
    - VideoNotStored           the job's video is not stored yet; ask again later
    - VideoGone                the job has no video, and will not get one
  + CancelNotPossible          the job cannot be canceled, or not by this client
  + JobFailed                  the job ended without a video
  + JobOverdue                 no callback came when it should have, and asking the provider did not help
  + WaitTimeout                the job did not end within the given time

``retryable`` on the class says whether the same call can succeed later without a change by the caller.
"""

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from datetime import timedelta


class ReplyhookError(Exception):
    """Anything this library raises on purpose.

    ``tried`` holds the providers that a submit had come to before, each with the error for which it went on.
    """

    retryable: ClassVar[bool] = False
    tried: "tuple[tuple[str, ReplyhookError], ...]" = ()


class ConfigurationError(ReplyhookError):
    """A key, an address or a setting is missing or cannot be right."""


class InvalidRequest(ReplyhookError):
    """What was asked breaks a documented limit. Nothing was sent.

    ``field`` names the argument, ``value`` is what was given, ``allowed`` says what would do.
    """

    def __init__(self, field: str, value: object, allowed: str, *, provider: str | None = None) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.provider = provider
        shown = repr(value)
        if len(shown) > 80:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        whose = f" for {provider}" if provider else ""
        super().__init__(f"{field}={shown} is not possible{whose}: {allowed}")


class UnreadableMessage(ReplyhookError):
    """A provider or the receiver said something that cannot be read."""


class VerificationError(ReplyhookError):
    """A callback or notification did not prove where it came from.

    The message says which check failed, never what would have passed it.
    """


class OtherSender(VerificationError):
    """It says that it comes from another user of the provider's than those who are pinned."""


class NoMatchingKey(VerificationError):
    """Everything about the signature is in order but no key at hand made it: the keys may be stale."""


class KeysUnavailable(ReplyhookError):
    """The keys to verify with could not be had. Our own trouble, not the caller's."""

    retryable = True


class SubmissionRefused(ReplyhookError):
    """The provider said no, in its own words. Nothing was started and nothing is billed."""

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        self.status = status
        self.code = code
        self.provider: str | None = None
        super().__init__(message)

    def __str__(self) -> str:
        words = super().__str__()
        return f"{self.provider} refused the job: {words}" if self.provider else words


class BadRequest(SubmissionRefused):
    """The provider did not like the request."""


class Unauthorized(SubmissionRefused):
    """The provider did not accept the API key."""


class InsufficientCredits(SubmissionRefused):
    """The provider's account has no credits left."""


class Moderated(SubmissionRefused):
    """The provider's moderation refused the prompt or the video."""


class RateLimited(SubmissionRefused):
    """Too many jobs or requests at once.

    ``retry_after`` is what the provider asked for, if it did; ``waited_seconds`` is how long the submit has waited
    for it, and been refused again.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: "timedelta | None" = None,
    ) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after = retry_after
        self.waited_seconds = 0.0

    def __str__(self) -> str:
        waited = f" (waited {self.waited_seconds:.0f} s for it)" if self.waited_seconds else ""
        return f"{super().__str__()}{waited}"


class AccountBlocked(SubmissionRefused):
    """The provider's account needs its owner's attention before it works again."""


class ProviderUnavailable(ReplyhookError):
    """The provider could not be reached or could not answer, and certainly started nothing."""

    retryable = True


class SubmitOutcomeUnknown(ReplyhookError):
    """The submit may or may not have reached the provider, so it is never sent again.

    ``job`` is the handle to wait on: a callback through its reply URL still settles it. ``warnings`` are the
    receiver's, of what will not work for it.
    """

    def __init__(self, message: str, *, job: Any = None) -> None:
        super().__init__(message)
        self.job = job
        self.warnings: tuple[str, ...] = ()


class NoProviderLeft(ReplyhookError):
    """None of several providers could do the job, had a key, or took it. Nothing was started and nothing is billed.

    ``reasons`` pairs each provider with why not, those that were asked as well as those that never were.
    """

    def __init__(self, reasons: tuple[tuple[str, ReplyhookError], ...]) -> None:
        self.reasons = reasons
        super().__init__("no provider is left: " + "; ".join(f"{name}: {error}" for name, error in reasons))


class ReceiverError(ReplyhookError):
    """The receiver refused a call. ``status`` is its HTTP status, ``problem`` its RFC 9457 answer."""

    def __init__(self, message: str, *, status: int | None = None, problem: dict[str, Any] | None = None) -> None:
        self.status = status
        self.problem = problem or {}
        super().__init__(message)


class ReceiverUnavailable(ReceiverError):
    """The receiver could not be reached or could not answer."""

    retryable = True


class JobNotFound(ReceiverError):
    """The receiver knows no such job."""


class JobConflict(ReceiverError):
    """The receiver knows this job with other contents."""


class VideoNotStored(ReceiverError):
    """The job's video is not stored yet: ``wait()`` tells when it is."""

    retryable = True


class VideoGone(ReceiverError):
    """The job has no video and will not get one: it failed, or its video was lost."""


class CancelNotPossible(ReplyhookError):
    """The job cannot be canceled, or not by this client. It goes on as it was."""


class JobFailed(ReplyhookError):
    """The job ended without a video. ``job`` is its handle, ``code`` the provider's or our own word for why."""

    def __init__(self, message: str, *, job: Any, code: str | None = None) -> None:
        super().__init__(message)
        self.job = job
        self.code = code


class JobOverdue(ReplyhookError):
    """The receiver has given up expecting a callback and asks the provider no more. The job has not ended.

    ``reason`` says why, after a word of its own: ``no_callback: …`` (asked, and told of no end), ``no_provider_key: …``
    (it could not ask), ``no_provider_job_id: …`` or ``submit_unknown: …`` (nobody knows what to ask for).
    ``job`` is its handle: ``wait(past_overdue=True)`` goes on waiting, since a late callback still settles it.
    """

    def __init__(self, message: str, *, job: Any, reason: str) -> None:
        super().__init__(message)
        self.job = job
        self.reason = reason


class WaitTimeout(ReplyhookError, TimeoutError):
    """The job did not end within the given time. It goes on; ``job`` is the handle to wait on again."""

    retryable = True

    def __init__(self, message: str, *, job: Any) -> None:
        super().__init__(message)
        self.job = job
