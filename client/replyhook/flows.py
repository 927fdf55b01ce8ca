"""What happens in which order when a job is submitted: a generator of steps, with nothing sent by itself.

The same flow drives the plain and the async client: each step asks for one request to be sent (or for a pause), and
gets the answer or the failure back.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from replyhook.errors import (
    BadRequest,
    ConfigurationError,
    InvalidRequest,
    JobConflict,
    ProviderUnavailable,
    RateLimited,
    ReceiverUnavailable,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    UnreadableMessage,
)
from replyhook.jobs import VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.patience import Patience
from replyhook.providers import CallbackKind
from replyhook.receiver_api import ReceiverAPI, request_as_json
from replyhook.steps import Flow, Pause, Purpose, Send, Step, Submission, Submitted

REPORT_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between the tries to tell the receiver what became of a submit, or to have it submit: both are idempotent."""


_T = TypeVar("_T")

PassesOn = Callable[[ReplyhookError], bool]  # whether another provider is asked after this error

_STOPPED = "the program was stopped meanwhile"
_CERTAINLY_NOT_STARTED = (
    SubmissionRefused,
    ProviderUnavailable,
    UnreadableMessage,
    InvalidRequest,
    ConfigurationError,
)


def is_the_end(_: ReplyhookError) -> bool:
    """Nobody else is asked."""
    return False


def submit(
    submission: Submission, receiver: ReceiverAPI | None, patience: Patience, passes_on: PassesOn = is_the_end
) -> Flow:
    """Register with the receiver (a detached client has none), upload if need be, submit once, report.

    The receiver knows the job before any money is spent, and a submit that may have arrived is never sent again. One
    that was refused because the provider takes no more at a time is, while ``patience`` lasts.
    Raises the typed refusals, ``SubmitOutcomeUnknown``, and the receiver's errors.
    """
    if receiver is None:
        if submission.reply_url is None:
            raise AssertionError("a detached client mints the reply URL itself")
        return (yield from _submit_to_provider(submission, None, submission.reply_url, patience, passes_on))
    capabilities = submission.provider.capabilities
    is_relayed = capabilities.callback is CallbackKind.NONE
    source = submission.source
    if is_relayed and source.kind in capabilities.uploads:  # the receiver cannot reach it where it is
        source = yield from _upload_unregistered(submission, patience)
    registration = receiver.build_register(
        submission.job_id,
        provider=capabilities.name,
        account=submission.provider.account,
        reference=submission.reference,
        user=submission.user,
        notify=submission.notify,
        request=request_as_json(submission.request),
        relay_video=source.text if is_relayed else None,
    )
    if is_relayed:  # the provider cannot call back: the receiver submits, and takes the answer for the callback
        yield from _hand_over(registration, receiver)
        return Submitted(provider_job_id=None, reply_url=None, reported=True)
    registered = receiver.parse_register((yield from _send(registration, Purpose.RECEIVER)))
    try:
        submitted = yield from _submit_to_provider(submission, receiver, registered.reply_url, patience, passes_on)
    except SubmitOutcomeUnknown as error:
        error.warnings = registered.warnings
        raise
    return replace(submitted, warnings=registered.warnings)


def _hand_over(registration: HTTPRequest, receiver: ReceiverAPI) -> Generator[Step, HTTPResponse | None, None]:
    """Have the receiver submit. An answer that was lost is asked for again: the same request, so the same job."""
    in_doubt = False
    for pause in (*REPORT_PAUSES, None):
        try:
            return receiver.raise_for_problem((yield from _send(registration, Purpose.RELAY)))
        except (SubmitOutcomeUnknown, ReceiverUnavailable, JobConflict) as error:
            in_doubt = in_doubt or _leaves_doubt(error)
            if not in_doubt or (isinstance(error, JobConflict) and not _leaves_doubt(error)):
                raise
            if pause is None:
                raise SubmitOutcomeUnknown(f"the receiver may have taken the job: {error}") from error
            yield Pause(pause)


def _leaves_doubt(error: ReplyhookError) -> bool:
    """Whether the receiver may be working on what it was given. A server error may come after its commit."""
    if isinstance(error, JobConflict):
        return bool(error.problem.get("still_running"))
    return isinstance(error, SubmitOutcomeUnknown) or (getattr(error, "status", None) or 0) >= 500


def _upload_unregistered(
    submission: Submission, patience: Patience
) -> Generator[Step, HTTPResponse | None, VideoSource]:
    """Upload before the receiver is told of the job: it is told where the video is."""
    try:
        return (yield from _patiently(partial(_upload, submission, None), submission, None, patience))
    except SubmissionRefused as error:
        _name(error, submission.provider.capabilities.name)
        raise


def _submit_to_provider(
    submission: Submission, receiver: ReceiverAPI | None, reply_url: str, patience: Patience, passes_on: PassesOn
) -> Flow:
    capabilities = submission.provider.capabilities
    try:
        source = yield from _patiently(partial(_upload, submission, receiver), submission, receiver, patience)
        request = submission.provider.build_submit(
            submission.request, source, reply_url=reply_url, job_id=submission.job_id
        )
    except _CERTAINLY_NOT_STARTED as error:
        _name(error, capabilities.name)
        yield from _report(
            receiver, submission.job_id, outcome="refused", error=_words(error), passed_on=passes_on(error)
        )
        raise
    try:
        post = partial(_post, request, submission, receiver)
        provider_job_id = yield from _patiently(post, submission, receiver, patience)
    except (SubmissionRefused, ProviderUnavailable) as error:
        _name(error, capabilities.name)
        yield from _report(
            receiver, submission.job_id, outcome="refused", error=_words(error), passed_on=passes_on(error)
        )
        raise
    except (SubmitOutcomeUnknown, UnreadableMessage) as error:
        yield from _report(receiver, submission.job_id, outcome="unknown", error=_words(error))
        if isinstance(error, SubmitOutcomeUnknown):
            raise
        raise SubmitOutcomeUnknown(f"the submit's outcome is not known: {error}") from error
    reported = yield from _report(receiver, submission.job_id, outcome="accepted", provider_job_id=provider_job_id)
    return Submitted(provider_job_id=provider_job_id, reply_url=reply_url, reported=reported)


def _send(
    request: HTTPRequest, purpose: Purpose, last_words: HTTPRequest | None = None
) -> Generator[Step, HTTPResponse | None, HTTPResponse]:
    answer = yield Send(request, purpose, last_words)
    if answer is None:
        raise AssertionError("a step that sends must be given its answer")
    return answer


def _upload(submission: Submission, receiver: ReceiverAPI | None) -> Generator[Step, HTTPResponse | None, VideoSource]:
    provider, source, last_words = submission.provider, submission.source, _not_started(submission, receiver)
    request = provider.build_upload(source)
    if request is None:
        return source
    upload = provider.parse_upload((yield from _send(request, Purpose.UPLOAD, last_words)), source)
    if upload.then is not None:
        answer = yield from _send(upload.then, Purpose.UPLOAD, last_words)
        if answer.status >= 300:
            words = f"the upload was answered {answer.status}; nothing was submitted"
            raise BadRequest(words, status=answer.status) if answer.status == 413 else ProviderUnavailable(words)
    return upload.source


def _post(
    request: HTTPRequest, submission: Submission, receiver: ReceiverAPI | None
) -> Generator[Step, HTTPResponse | None, str]:
    """Send the one request that spends money. It may have arrived, however our program ends."""
    last_words = (
        receiver.build_submission(submission.job_id, outcome="unknown", error=_STOPPED)
        if receiver is not None
        else None
    )
    return submission.provider.parse_submit((yield from _send(request, Purpose.SUBMIT, last_words)))


def _patiently(
    attempt: Callable[[], Generator[Step, HTTPResponse | None, _T]],
    submission: Submission,
    receiver: ReceiverAPI | None,
    patience: Patience,
) -> Generator[Step, HTTPResponse | None, _T]:
    """What ``attempt`` leads to, made again after each refusal that only means "not so many at a time"."""
    waited = 0.0
    while True:
        try:
            return (yield from attempt())
        except RateLimited as error:
            error.waited_seconds = waited
            pause = patience.next_pause(error, submission.provider.capabilities.busy_pause_seconds)
            if pause is None:
                raise
        yield Pause(pause, _not_started(submission, receiver))
        waited += pause


def _not_started(submission: Submission, receiver: ReceiverAPI | None) -> HTTPRequest | None:
    if receiver is None:
        return None
    return receiver.build_submission(submission.job_id, outcome="refused", error=f"not submitted: {_STOPPED}")


def _name(error: ReplyhookError, provider: str) -> None:
    if isinstance(error, SubmissionRefused):
        error.provider = provider


def _report(receiver: ReceiverAPI | None, job_id: str, **outcome: Any) -> Generator[Step, HTTPResponse | None, bool]:
    if receiver is None:
        return False
    request = receiver.build_submission(job_id, **outcome)
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


def _words(error: ReplyhookError) -> str:
    return f"{type(error).__name__}: {error}"[:1000]


def with_purpose(error: ReplyhookError, purpose: Purpose, *, maybe_sent: bool) -> ReplyhookError:
    """The failure of a connection as what it means for a request of this purpose."""
    if purpose is Purpose.RELAY and maybe_sent:
        return SubmitOutcomeUnknown(f"no answer came from the receiver: {error}")
    if purpose in (Purpose.RECEIVER, Purpose.RELAY):
        return ReceiverUnavailable(f"the receiver could not be reached ({error}): is its address right, does it run?")
    if purpose is Purpose.SUBMIT and maybe_sent:
        return SubmitOutcomeUnknown(f"the submit may have reached the provider, but no answer came: {error}")
    return ProviderUnavailable(f"the provider could not be reached: {error}")
