"""Asking a provider about a job: only where a callback said "done" without the result."""

from collections.abc import Callable, Mapping
from datetime import datetime

from replyhook.ids import new_id
from replyhook.jobs import JobEvent, JobStatus, Trust
from replyhook.messages import HTTPResponse
from replyhook.providers import Provider
from replyhook_receiver.errors import ResultMissing
from replyhook_receiver.net import Door
from replyhook_receiver.records import Done, JobRecord, Report, ReportSource, Task
from replyhook_receiver.stores.base import Store
from replyhook_receiver.work.asking import Asker


class FetchResult:
    """Runs fetch_result tasks; the subject is the job's id."""

    def __init__(
        self, *, store: Store, door: Door, providers: Mapping[str, Provider], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._asker = Asker(door=door, providers=providers)
        self._now = now

    async def __call__(self, task: Task) -> Done:
        """Ask once. Raises ``CannotAsk``, ``ResultMissing`` (there is no news yet), the door's errors."""
        job = await self._store.job(task.subject)
        if job is None or job.status is JobStatus.SUCCEEDED:
            return Done()
        answer = await self._asker.ask(job)
        event = answer.event
        is_final = event is not None and event.status is not None and event.status.is_terminal
        if event is None or not is_final or (event.result is None and event.status is JobStatus.SUCCEEDED):
            raise ResultMissing("the provider has no result yet")
        return Done(report=self._report(job, event, answer.response))

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
