"""The one place from which providers are asked about a job: the status, and the result where it stands apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from replyhook.errors import ReplyhookError
from replyhook.ids import new_id
from replyhook.jobs import JobEvent, JobStatus, Trust
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.providers import Provider
from replyhook_receiver.counters import Cause, Questions
from replyhook_receiver.errors import CannotAsk, ResultMissing
from replyhook_receiver.net import Door
from replyhook_receiver.records import JobRecord, Report, ReportSource, SubmissionOutcome

NO_PROVIDER_KEY = "no_provider_key"
NO_PROVIDER_JOB_ID = "no_provider_job_id"

MAX_QUESTIONS = 3
"""How often a provider is asked about the links of one job, for one cause (P8)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider says of a job. ``event`` is None where it has no news; ``response`` is the last answer."""

    event: JobEvent | None
    response: HTTPResponse = field(repr=False)


class Asker:
    """Asks providers, with the receiver's own keys, and counts what for. At most two requests a question."""

    def __init__(self, *, door: Door, providers: Mapping[str, Provider], questions: Questions) -> None:
        self._door = door
        self._providers = providers
        self._questions = questions

    async def ask(self, job: JobRecord, cause: Cause) -> Answer:
        """How the job stands. Raises ``CannotAsk``, ``ResultMissing`` for an answer that says nothing, the door's.

        Where the submit's outcome is unknown, the provider is asked once for the job with our id, if it keeps that.
        """
        provider = self._providers[job.provider]
        if not provider.api_key:
            raise CannotAsk(no_key(job.provider))
        if job.provider_job_id is None:
            return await self._look_for(job, provider, cause)
        response = await self._send(job, provider.build_status(job.provider_job_id), cause)
        event = _read(provider.parse_status, response, job.provider_job_id)
        question = provider.build_result(job.provider_job_id)
        if event is not None and event.status is JobStatus.SUCCEEDED and event.result is None and question is not None:
            response = await self._door.send(question)
            event = _read(provider.parse_result, response, job.provider_job_id)
        return Answer(event=event, response=response)

    async def _look_for(self, job: JobRecord, provider: Provider, cause: Cause) -> Answer:
        search = provider.build_search(job.id) if job.submission is SubmissionOutcome.UNKNOWN else None
        if search is None:
            raise CannotAsk(f"{NO_PROVIDER_JOB_ID}: nobody knows the provider's id of this job")
        response = await self._send(job, search, cause)
        event = _read(provider.parse_search, response, job.id)
        if event is None:
            raise CannotAsk(f"{NO_PROVIDER_JOB_ID}: the provider's list does not hold this job")
        return Answer(event=event, response=response)

    async def _send(self, job: JobRecord, request: HTTPRequest, cause: Cause) -> HTTPResponse:
        self._questions.ask(job.provider, cause)
        return await self._door.send(request)


def as_report(job: JobRecord, event: JobEvent, answer: HTTPResponse, now: datetime) -> Report:
    """What a provider answered, to be kept as a callback is."""
    return Report(
        callback_id=new_id("cb", at=now.timestamp()),
        provider=job.provider,
        account=job.account,
        job_id=job.id,
        received_at=now,
        headers=(("content-type", answer.headers.get("content-type", "")),),
        body=answer.body,
        trust=Trust.RECONCILED,
        event=event,
        source=ReportSource.RECONCILE,
    )


def no_key(provider: str) -> str:
    """Why a provider cannot be asked, where we have no key."""
    return f"{NO_PROVIDER_KEY}: the receiver has no API key for {provider}"


def _read(
    parse: Callable[[HTTPResponse, str], JobEvent | None], response: HTTPResponse, job_id: str
) -> JobEvent | None:
    try:
        return parse(response, job_id)
    except ReplyhookError as error:
        raise ResultMissing(f"the provider could not say: {error}") from error
