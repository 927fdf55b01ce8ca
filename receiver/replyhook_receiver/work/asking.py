"""The one place from which providers are asked about a job: the status, and the result where it stands apart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from replyhook.errors import ReplyhookError
from replyhook.jobs import JobEvent, JobStatus
from replyhook.messages import HTTPResponse
from replyhook.providers import Provider
from replyhook_receiver.errors import CannotAsk, ResultMissing
from replyhook_receiver.net import Door
from replyhook_receiver.records import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider says of a job. ``event`` is None where it has no news; ``response`` is the last answer."""

    event: JobEvent | None
    response: HTTPResponse = field(repr=False)


class Asker:
    """Asks providers, with the receiver's own keys. At most two requests a question."""

    def __init__(self, *, door: Door, providers: Mapping[str, Provider]) -> None:
        self._door = door
        self._providers = providers

    async def ask(self, job: JobRecord) -> Answer:
        """How the job stands. Raises ``CannotAsk``, ``ResultMissing`` for an answer that says nothing, the door's."""
        provider = self._providers[job.provider]
        if not provider.api_key:
            raise CannotAsk(f"no_provider_key: the receiver has no API key for {job.provider}")
        if job.provider_job_id is None:
            raise CannotAsk("no_provider_job_id: nobody knows the provider's id of this job")
        response = await self._door.send(provider.build_status(job.provider_job_id))
        event = _read(provider.parse_status, response, job.provider_job_id)
        question = provider.build_result(job.provider_job_id)
        if event is not None and event.status is JobStatus.SUCCEEDED and event.result is None and question is not None:
            response = await self._door.send(question)
            event = _read(provider.parse_result, response, job.provider_job_id)
        return Answer(event=event, response=response)


def _read(
    parse: Callable[[HTTPResponse, str], JobEvent | None], response: HTTPResponse, provider_job_id: str
) -> JobEvent | None:
    try:
        return parse(response, provider_job_id)
    except ReplyhookError as error:
        raise ResultMissing(f"the provider could not say: {error}") from error
