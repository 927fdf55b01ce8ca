"""The job API: register, report the submit, look."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest, VerificationError
from replyhook.providers import CallbackKind, Provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.channels.registry import Channels
from replyhook_receiver.counters import Questions, Refusals
from replyhook_receiver.errors import UnknownJob
from replyhook_receiver.records import JobFilter, JobRecord, Registration
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.stores.windows import Listed
from replyhook_receiver.tracing import Tracing
from replyhook_receiver.web.answer_models import Job, JobPage, Questioned, Refused, RegisteredJob
from replyhook_receiver.web.answering import answer, counts
from replyhook_receiver.web.auth import ApiKeys, access_of, own_user
from replyhook_receiver.web.history_queries import read_jobs_query
from replyhook_receiver.web.idempotency import made_id_of
from replyhook_receiver.web.models import RegistrationModel, RelayModel, SubmissionModel, read_model
from replyhook_receiver.web.pages import looked_for, page_of
from replyhook_receiver.work.asking import no_key

MAX_BODY_BYTES = 256 * 1024


class JobApi:
    """What the endpoints stand on."""

    def __init__(
        self,
        *,
        store: Store,
        channels: Channels,
        tokens: TokenKeys,
        announcer: Announcer,
        refusals: Refusals,
        questions: Questions,
        public_url: str,
        providers: Mapping[str, Provider],
        now: Callable[[], datetime],
        tracing: Tracing | None = None,
    ) -> None:
        self._store = store
        self._channels = channels
        self._tokens = tokens
        self._announcer = announcer
        self._refusals = refusals
        self._questions = questions
        self._public_url = public_url
        self._providers = providers
        self._now = now
        self._tracing = tracing

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""

        async def relay(request: Request) -> Response:
            return await self.relay(request, keys)

        table: list[tuple[str, str, Any]] = [
            ("GET", "/v1/jobs", self.jobs),
            ("POST", "/v1/jobs", relay),
            ("PUT", "/v1/jobs/{id}", self.register),
            ("GET", "/v1/jobs/{id}", self.show),
            ("POST", "/v1/jobs/{id}/submission", self.report_submission),
            ("GET", "/v1/refusals", self.refusals),
            ("GET", "/v1/questions", self.questions),
        ]
        return [
            Route(path, keys.guard(endpoint), methods=[method], max_body_size=MAX_BODY_BYTES)
            for method, path, endpoint in table
        ]

    async def register(self, request: Request) -> Response:
        """Make a job known before it is submitted; the answer holds its reply URL, and what will not work for it."""
        job_id, begun = request.path_params["id"], time.time_ns()
        registration = (await read_model(request, RegistrationModel)).checked(job_id)
        registration = _owned(registration, request)
        self._check_can_verify(registration)
        await self._check_targets(registration)
        now = self._now()
        job = await self._store.register(registration, now=now)
        await self._trace(request, "register", job.id, begun)
        if self._providers[job.provider].capabilities.callback is CallbackKind.ACCOUNT:
            token = self._tokens.mint_account(provider=job.provider, account=job.account)
        else:
            # Minted from the job's own time, so that the same registration is always answered with the same URL.
            token = self._tokens.mint(provider=job.provider, job_id=job.id, now=job.created_at)
        reply_url = build_reply_url(self._public_url, provider=job.provider, token=token)
        warnings = [] if self._providers[job.provider].api_key else [_cannot_ask(job.provider)]
        told = {**self._announcer.describe(job, self._now()), "reply_url": reply_url, "warnings": warnings}
        return answer(RegisteredJob, told)

    async def jobs(self, request: Request) -> Response:
        """The jobs, newest first, of which the query is true."""
        wanted, before, limit = read_jobs_query(request.query_params)
        wanted = replace(wanted, user=own_user(access_of(request), wanted.user))
        now = self._now()

        async def find(down_to: str | None, most: int) -> list[JobRecord]:
            return await self._store.jobs(wanted, before=before, down_to=down_to, limit=most)

        def show(job: JobRecord) -> dict[str, Any]:
            return self._announcer.describe(job, now)

        has_index = wanted.expiring or wanted == JobFilter(reference=wanted.reference, user=wanted.user)
        if has_index:
            return answer(JobPage, page_of(await find(None, limit + 1), limit, show))
        windows = self._store.windows
        return answer(JobPage, await looked_for(windows, Listed.JOBS, before=before, limit=limit, find=find, show=show))

    async def relay(self, request: Request, keys: ApiKeys) -> Response:
        """Take a whole job; the receiver submits it itself, once. Answered when it is noted, before it is submitted."""
        begun, model = time.time_ns(), await read_model(request, RelayModel)
        registration = model.checked_relay(self._providers, made_id=made_id_of(request, "job"))
        registration = _owned(registration, request)
        await keys.check_own(access_of(request), Thing.NEW_JOB, registration.job_id)
        await self._check_targets(registration)
        job = await self._store.register(registration, now=self._now())
        await self._trace(request, "hand over", job.id, begun)
        return answer(Job, self._announcer.describe(job, self._now()), status=202)

    async def report_submission(self, request: Request) -> Response:
        """Keep what became of the submit."""
        begun, submission = time.time_ns(), (await read_model(request, SubmissionModel)).checked()
        job = await self._store.record_submission(request.path_params["id"], submission, now=self._now())
        await self._trace(request, "submitted", job.id, begun, outcome=submission.outcome)
        return answer(Job, self._announcer.describe(job, self._now()))

    async def show(self, request: Request) -> Response:
        """A job as we know it."""
        job = await self._job(request)
        waiting_for = await self._store.relays.waiting_for(job.id) if job.relay_video is not None else None
        shown = self._announcer.describe(job, self._now())
        return answer(Job, shown if waiting_for is None else {**shown, "waiting_for": waiting_for})

    async def refusals(self, _: Request) -> Response:
        """How many callbacks were refused since the start, by provider and reason."""
        return counts(Refused, self._refusals.by_provider())

    async def questions(self, _: Request) -> Response:
        """How often providers were asked about jobs since the start and why, how many recovered, how many were lost."""
        return counts(Questioned, self._questions.by_provider())

    async def _trace(self, request: Request, name: str, job_id: str, begun: int, **attributes: str) -> None:
        if self._tracing is not None:
            await self._tracing.asked(name, job_id, request.headers.get("traceparent"), begun, **attributes)

    def _check_can_verify(self, registration: Registration) -> None:
        """Say before any money is spent that the callbacks of this job could not be believed."""
        try:
            self._providers[registration.provider].callback_secrets(registration.account)
        except VerificationError as error:
            allowed = f"this receiver could not verify its callbacks: {error}"
            raise InvalidRequest("account", registration.account, allowed, provider=registration.provider) from error

    async def _check_targets(self, registration: Registration) -> None:
        """At once, since a name may be slow to be looked up; the first that may not be is the one that is told."""
        places = dict.fromkeys((target.channel, target.url) for target in registration.notify)
        checks = (self._channels.check(channel, url, field="notify") for channel, url in places)
        for refused in await asyncio.gather(*checks, return_exceptions=True):
            if refused is not None:
                raise refused

    async def _job(self, request: Request) -> JobRecord:
        job = await self._store.job(request.path_params["id"])
        if job is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        return job


def _owned(registration: Registration, request: Request) -> Registration:
    """The registration as its key may make it: with a key of one user's, that user's."""
    return replace(registration, user=own_user(access_of(request), registration.user))


def _cannot_ask(provider: str) -> str:
    return f"{no_key(provider)}: if no callback comes, it cannot ask, and the job is overdue"
