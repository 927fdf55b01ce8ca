"""`POST /v1/jobs/{id}/cancel`: end a job that was not submitted yet; ask the provider to cancel one that was."""

from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.jobs import JobStatus
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.errors import CancelConflict, UnknownJob
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.web.answer_models import CanceledJob
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.deeds import tell_nothing_is_done
from replyhook_receiver.web.models import read_nothing
from replyhook_receiver.work.canceling import Canceler

_MAX_BODY_BYTES = 1024
BY_RECEIVER, BY_PROVIDER = "receiver", "provider"


class CancelApi:
    """What the route stands on."""

    def __init__(self, *, store: Store, announcer: Announcer, canceler: Canceler, now: Callable[[], datetime]) -> None:
        self._store = store
        self._announcer = announcer
        self._canceler = canceler
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The route, for those with a key."""
        path = "/v1/jobs/{id}/cancel"
        return [Route(path, keys.guard(self.cancel), methods=["POST"], max_body_size=_MAX_BODY_BYTES)]

    async def cancel(self, request: Request) -> Response:
        """Cancel a job: 200 where that is done, 202 where its provider was asked to, whose callback then decides."""
        await read_nothing(request)
        job = await self._job(request)
        if await self._store.canceling.cancel_unsent(job.id, now=self._now()):
            return self._told(await self._job(request), BY_RECEIVER, status=200)
        job = await self._job(request)
        if job.status is JobStatus.CANCELED:
            tell_nothing_is_done(request)
            return self._told(job, BY_PROVIDER if job.called_back_at else BY_RECEIVER, status=200)
        if job.status.is_terminal:
            raise CancelConflict(f"job {job.id} has ended already: it {job.status}")
        await self._canceler.ask(job)
        return self._told(job, BY_PROVIDER, status=202)

    def _told(self, job: JobRecord, by: str, *, status: int) -> Response:
        told = {**self._announcer.describe(job, self._now()), "canceled_by": by}
        return answer(CanceledJob, told, status=status)

    async def _job(self, request: Request) -> JobRecord:
        job = await self._store.job(request.path_params["id"])
        if job is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        return job
