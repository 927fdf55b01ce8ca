"""Asking a provider about a job: where a callback said "done" without the result, and where none came in time."""

from collections.abc import Callable
from datetime import datetime

from replyhook.jobs import JobEvent, JobStatus
from replyhook_receiver.counters import Cause, Questions
from replyhook_receiver.deadlines import Deadlines, next_question
from replyhook_receiver.errors import NoNews, ReceiverTrouble, ResultMissing
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Done, Task
from replyhook_receiver.work.asking import Answer, Asker, as_report


class FetchResult:
    """Runs fetch_result tasks: the provider said "done", so the result is there or will be in a moment.

    The subject is the job's id.
    """

    def __init__(self, *, store: Store, asker: Asker, now: Callable[[], datetime]) -> None:
        self._store = store
        self._asker = asker
        self._now = now

    async def __call__(self, task: Task) -> Done:
        """Ask once. Raises ``CannotAsk``, ``ResultMissing`` (there is no news yet), the door's errors."""
        job = await self._store.job(task.subject)
        if job is None or job.status is JobStatus.SUCCEEDED:
            return Done()
        answer = await self._asker.ask(job, Cause.NO_RESULT)
        if answer.event is None or not _is_end(answer.event):
            raise ResultMissing("the provider has no result yet")
        return Done(report=as_report(job, answer.event, answer.response, self._now()))


class Reconcile:
    """Runs reconcile tasks: nobody called back in time. The subject is the job's id.

    An end that is found goes the way of a callback. Else the next question waits as ``next_question`` says; after the
    last one the store announces the job as overdue.
    """

    def __init__(
        self,
        *,
        store: Store,
        asker: Asker,
        deadlines: Deadlines,
        questions: Questions,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._asker = asker
        self._deadlines = deadlines
        self._questions = questions
        self._now = now

    async def __call__(self, task: Task) -> Done:
        """Ask once. Raises ``CannotAsk``, ``NoNews`` (not asked again), and what to wait for with ``retry_after``."""
        job = await self._store.job(task.subject)
        if job is None or job.status.is_terminal:
            return Done()
        try:
            answer = await self._asker.ask(job, Cause.OVERDUE)
        except ReceiverTrouble as trouble:
            raise self._after(job, task, trouble) from trouble
        if answer.event is not None and _is_end(answer.event):
            self._questions.recover(job.provider)
            return Done(report=as_report(job, answer.event, answer.response, self._now()))
        await self._keep_what_settles(job, answer)
        raise self._after(job, task, ResultMissing("the provider has no result yet"), is_done=_is_success(answer.event))

    async def _keep_what_settles(self, job: JobRecord, answer: Answer) -> None:
        """That it runs is no news; but for a submit of unknown outcome it is, and so is the provider's id."""
        event = answer.event
        is_unsettled = job.status is JobStatus.UNKNOWN or job.provider_job_id is None
        if is_unsettled and event is not None and event.status is not None and event.status is not JobStatus.SUCCEEDED:
            await self._store.accept(as_report(job, event, answer.response, self._now()))

    def _after(self, job: JobRecord, task: Task, trouble: ReceiverTrouble, *, is_done: bool = False) -> ReceiverTrouble:
        """What to raise: ``trouble`` with the time until the next question, or that this was the last.

        Where the provider says "done" without the result, the result is there in a moment: the worker's own ladder
        is right for that.
        """
        now = self._now()
        wait = next_question(
            begun_at=job.submitted_at or job.created_at,
            wait=self._deadlines.wait(job.provider, job.request),
            lifetime=self._deadlines.lifetime(job.provider),
            attempt=task.attempt,
            now=now,
        )
        if trouble.retryable and wait is not None:
            trouble.retry_after = None if is_done else wait
            return trouble
        if job.overdue_at is None:
            self._questions.lose(job.provider)
        if not trouble.retryable:
            return trouble
        times = "once" if task.attempt == 1 else f"{task.attempt} times"
        return NoNews(f"no_callback: none came, and the provider was asked {times}: {trouble}")


def _is_success(event: JobEvent | None) -> bool:
    return event is not None and event.status is JobStatus.SUCCEEDED


def _is_end(event: JobEvent) -> bool:
    is_final = event.status is not None and event.status.is_terminal
    return is_final and (event.result is not None or event.status is not JobStatus.SUCCEEDED)
