"""What happens in which order when a job is submitted: a generator of steps, with nothing sent by itself.

The same flow drives the plain and the async client: each step asks for one request to be sent (or for a pause), and
gets the answer or the failure back.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from replyhook.errors import (
    ConfigurationError,
    InvalidRequest,
    ProviderUnavailable,
    ReceiverUnavailable,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    UnreadableMessage,
)
from replyhook.jobs import ExtendRequest, VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.providers import CallbackKind, Provider
from replyhook.receiver_api import ReceiverAPI, request_as_json

REPORT_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between the tries to tell the receiver what became of a submit: it is idempotent."""


class Purpose(StrEnum):
    """Whom a request goes to, which decides what its failure means."""

    RECEIVER = "receiver"
    UPLOAD = "upload"
    SUBMIT = "submit"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request; give back its answer."""

    request: HTTPRequest
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds; give back nothing of meaning."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Everything one submit is made of, checked already."""

    job_id: str
    provider: Provider
    request: ExtendRequest
    source: VideoSource
    reference: str | None
    user: str | None
    notify: Sequence[str | dict[str, Any]] = field(repr=False)
    reply_url: str | None = field(default=None, repr=False)
    """Where a detached client has minted it itself; else the receiver does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """How a submit went well; the ids are None where the receiver submits the job itself.

    ``reported`` is False when the receiver could not be told; the callback will tell it.
    """

    provider_job_id: str | None = field(repr=False)
    reply_url: str | None = field(repr=False)
    reported: bool


Step = Send | Pause
Flow = Generator[Step, HTTPResponse | None, Submitted]

_CERTAINLY_NOT_STARTED = (
    SubmissionRefused,
    ProviderUnavailable,
    UnreadableMessage,
    InvalidRequest,
    ConfigurationError,
)


def submit(submission: Submission, receiver: ReceiverAPI | None) -> Flow:
    """Register with the receiver (a detached client has none), upload if need be, submit once, report.

    The receiver knows the job before any money is spent, and a submit that may have arrived is never sent again.
    Raises the typed refusals, ``SubmitOutcomeUnknown``, and the receiver's errors.
    """
    if receiver is None:
        return (yield from _submit_to_provider(submission, None, submission.reply_url or ""))
    capabilities = submission.provider.capabilities
    is_relayed = capabilities.callback is CallbackKind.NONE
    registration = receiver.build_register(
        submission.job_id,
        provider=capabilities.name,
        account=submission.provider.account,
        reference=submission.reference,
        user=submission.user,
        notify=submission.notify,
        request=request_as_json(submission.request),
        relay_video=submission.source.text if is_relayed else None,
    )
    if is_relayed:  # the provider cannot call back: the receiver submits, and takes the answer for the callback
        receiver.raise_for_problem((yield from _send(registration, Purpose.RECEIVER)))
        return Submitted(provider_job_id=None, reply_url=None, reported=True)
    reply_url = receiver.parse_register((yield from _send(registration, Purpose.RECEIVER)))
    return (yield from _submit_to_provider(submission, receiver, reply_url))


def _submit_to_provider(submission: Submission, receiver: ReceiverAPI | None, reply_url: str) -> Flow:
    capabilities = submission.provider.capabilities
    try:
        source = yield from _upload(submission.provider, submission.source)
        request = submission.provider.build_submit(
            submission.request, source, reply_url=reply_url, job_id=submission.job_id
        )
    except _CERTAINLY_NOT_STARTED as error:
        yield from _report(receiver, submission.job_id, outcome="refused", error=_words(error))
        raise
    try:
        answer = yield from _send(request, Purpose.SUBMIT)
        provider_job_id = submission.provider.parse_submit(answer)
    except (SubmissionRefused, ProviderUnavailable) as error:
        if isinstance(error, SubmissionRefused):
            error.provider = capabilities.name
        yield from _report(receiver, submission.job_id, outcome="refused", error=_words(error))
        raise
    except (SubmitOutcomeUnknown, UnreadableMessage) as error:
        yield from _report(receiver, submission.job_id, outcome="unknown", error=_words(error))
        if isinstance(error, SubmitOutcomeUnknown):
            raise
        raise SubmitOutcomeUnknown(f"the submit's outcome is not known: {error}") from error
    reported = yield from _report(receiver, submission.job_id, outcome="accepted", provider_job_id=provider_job_id)
    return Submitted(provider_job_id=provider_job_id, reply_url=reply_url, reported=reported)


def _send(request: HTTPRequest, purpose: Purpose) -> Generator[Step, HTTPResponse | None, HTTPResponse]:
    answer = yield Send(request, purpose)
    if answer is None:
        raise AssertionError("a step that sends must be given its answer")
    return answer


def _upload(provider: Provider, source: VideoSource) -> Generator[Step, HTTPResponse | None, VideoSource]:
    request = provider.build_upload(source)
    if request is None:
        return source
    upload = provider.parse_upload((yield from _send(request, Purpose.UPLOAD)), source)
    if upload.then is not None:
        answer = yield from _send(upload.then, Purpose.UPLOAD)
        if answer.status >= 300:
            raise ProviderUnavailable(f"the upload was answered {answer.status}; nothing was submitted")
    return upload.source


def _report(
    receiver: ReceiverAPI | None, job_id: str, **outcome: str | None
) -> Generator[Step, HTTPResponse | None, bool]:
    if receiver is None:
        return False
    request = receiver.build_submission(job_id, **outcome)  # type: ignore[arg-type] # names are this module's own
    for pause in (*REPORT_PAUSES, None):
        try:
            receiver.raise_for_problem((yield from _send(request, Purpose.RECEIVER)))
        except ReceiverUnavailable:
            if pause is not None:
                yield Pause(pause)
        except ReplyhookError:
            return False
        else:
            return True
    return False


def cut_off(submission: Submission, receiver: ReceiverAPI) -> HTTPRequest:
    """What to tell the receiver when our own program is stopped in the middle of the submit."""
    return receiver.build_submission(submission.job_id, outcome="unknown", error="the program was stopped meanwhile")


def _words(error: ReplyhookError) -> str:
    return f"{type(error).__name__}: {error}"[:1000]


def with_purpose(error: ReplyhookError, purpose: Purpose, *, maybe_sent: bool) -> ReplyhookError:
    """The failure of a connection as what it means for a request of this purpose."""
    if purpose is Purpose.RECEIVER:
        return ReceiverUnavailable(f"the receiver could not be reached ({error}): is its address right, does it run?")
    if purpose is Purpose.SUBMIT and maybe_sent:
        return SubmitOutcomeUnknown(f"the submit may have reached the provider, but no answer came: {error}")
    return ProviderUnavailable(f"the provider could not be reached: {error}")
