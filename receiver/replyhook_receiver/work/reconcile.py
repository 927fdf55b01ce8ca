"""Asking a provider about a job: only where a callback said "done" without the result."""

from collections.abc import Callable, Mapping
from datetime import datetime

from replyhook.errors import ReplyhookError
from replyhook.ids import new_id
from replyhook.jobs import JobEvent, JobStatus, Trust
from replyhook.messages import HTTPResponse
from replyhook.providers import Provider
from replyhook_receiver.errors import CannotAsk, ResultMissing
from replyhook_receiver.net import Door
from replyhook_receiver.records import Done, JobRecord, Report, ReportSource, Task
from replyhook_receiver.stores.base import Store


class FetchResult:
    """Runs fetch_result tasks; the subject is the job's id. At most two requests each: the status, then the result."""

    def __init__(
        self, *, store: Store, door: Door, providers: Mapping[str, Provider], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._door = door
        self._providers = providers
        self._now = now

    async def __call__(self, task: Task) -> Done:
        """Ask once. Raises ``CannotAsk``, ``ResultMissing`` (there is no news yet), the door's errors."""
        job = await self._store.job(task.subject)
        if job is None or job.status is JobStatus.SUCCEEDED:
            return Done()
        provider = self._providers[job.provider]
        if not provider.api_key:
            raise CannotAsk(f"no_provider_key: the receiver has no API key for {job.provider}")
        if job.provider_job_id is None:
            raise CannotAsk("no_provider_job_id: nobody knows the provider's id of this job")
        answer = await self._door.send(provider.build_status(job.provider_job_id))
        event = _read(provider.parse_status, answer, job.provider_job_id)
        question = provider.build_result(job.provider_job_id)
        if event is not None and event.status is JobStatus.SUCCEEDED and event.result is None and question is not None:
            answer = await self._door.send(question)
            event = _read(provider.parse_result, answer, job.provider_job_id)
        is_final = event is not None and event.status is not None and event.status.is_terminal
        if event is None or not is_final or (event.result is None and event.status is JobStatus.SUCCEEDED):
            raise ResultMissing("the provider has no result yet")
        return Done(report=self._report(job, event, answer))

    def _report(self, job: JobRecord, event: JobEvent, answer: HTTPResponse) -> Report:
        now = self._now()
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


def _read(
    parse: Callable[[HTTPResponse, str], JobEvent | None], answer: HTTPResponse, provider_job_id: str
) -> JobEvent | None:
    try:
        return parse(answer, provider_job_id)
    except ReplyhookError as error:
        raise ResultMissing(f"the provider could not say: {error}") from error
