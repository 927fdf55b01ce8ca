"""The async client: the plain one with ``await``."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Unpack

from replyhook.arguments import ClientSettings, EstimateArguments, Known, SubmitArguments, check_on_upload
from replyhook.async_handle import AsyncJobHandle, OnEvent
from replyhook.errors import ReplyhookError, SubmitOutcomeUnknown
from replyhook.flows import with_purpose
from replyhook.local_video import OnUpload
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.patience import Patience
from replyhook.planning import estimate, prepare
from replyhook.results import JobPage
from replyhook.routing import Estimate, Routing
from replyhook.steps import Flow, Pause, Purpose, Step, Submitted
from replyhook.transport import AsyncTransport
from replyhook.trouble import ConnectionTrouble
from replyhook.watching import Until, check_wait

_LAST_WORDS_SECONDS = 5.0


class AsyncClient:
    """Submits extend jobs. Close it when done, or use it as a context manager.

    ``receiver_url`` and ``api_key`` are the receiver's; a detached client has ``reply_keys`` (``user:key``) and the
    receiver's ``public_url`` instead, and makes its reply URLs itself. ``provider_keys`` maps provider names to their
    API keys, and ``providers`` to further settings (``{"useapi": {"submit_path": "videos/extend-v4"}}``). ``timeout``
    is in seconds and for one call. Raises ``ConfigurationError`` for what cannot be right.
    """

    def __init__(
        self,
        *,
        receiver_url: str | None = None,
        api_key: str | None = None,
        provider_keys: Mapping[str, str] | None = None,
        providers: Mapping[str, Mapping[str, Any]] | None = None,
        reply_keys: Sequence[str] | None = None,
        public_url: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._settings = ClientSettings.build(receiver_url, api_key, provider_keys, providers, reply_keys, public_url)
        self._transport = AsyncTransport(timeout_seconds=timeout)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "AsyncClient":
        """A client from REPLYHOOK_RECEIVER_URL, REPLYHOOK_API_KEY, REPLYHOOK_PROVIDERS__… and the usual key names."""
        return cls(**ClientSettings.arguments_from_env(os.environ if environ is None else environ))

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    @property
    def is_detached(self) -> bool:
        """Whether this client has no receiver to ask, so that nothing can be waited for."""
        return self._settings.receiver is None

    async def submit(
        self, *, on_upload: OnUpload | None = None, **arguments: Unpack[SubmitArguments]
    ) -> AsyncJobHandle:
        """Submit one extend job and return its handle once it is accepted; the arguments are ``SubmitArguments``'.

        ``provider`` may be several, or ``auto``: the first that can do the job gets it, and the next one is asked only
        when it certainly started nothing and says nothing against the job; ``job.tried`` tells of those. ``on_upload``
        is called with the bytes of the video that were sent and how many there are, while it is uploaded.
        Raises ``InvalidRequest`` before anything is sent; ``SubmissionRefused`` and its kinds, ``NoProviderLeft``, or
        ``ProviderUnavailable``, when nothing was started; ``SubmitOutcomeUnknown``, with the handle to wait on, when
        the job may have been started: it is never sent twice; ``ReceiverError`` when the receiver would not take it.
        """
        check_on_upload(on_upload)
        plan, seconds = prepare(self._settings, arguments)
        patience = Patience(seconds, clock=time.monotonic, jitter=random.random)
        routing = Routing(plan, self._settings.receiver, patience)
        try:
            submitted = await self._play(routing.steps(), on_upload)
        except SubmitOutcomeUnknown as error:
            error.job = self._handle(Known.unknown(routing.submission, error, tried=routing.tried))
            raise
        return self._handle(Known.submitted(routing.submission, submitted, tried=routing.tried))

    def estimate(self, **arguments: Unpack[EstimateArguments]) -> tuple[Estimate, ...]:
        """What each provider would ask for this job, or why it would not get it; the arguments are ``submit``'s.

        In the order in which they would be asked; without ``provider`` it is about all. Nothing is sent.
        """
        return estimate(self._settings, arguments)

    async def subscribe(
        self,
        *,
        on_event: OnEvent | None = None,
        on_upload: OnUpload | None = None,
        wait_timeout: float | None = None,
        until: Until = "stored",
        **arguments: Unpack[SubmitArguments],
    ) -> AsyncJobHandle:
        """Submit one extend job and wait for it: ``submit()`` with its arguments, then ``wait()``.

        Returns the handle of the job, which has ended. ``on_event`` is called with each notification about it, progress
        among them. Raises what both raise, each error of the wait with the handle as ``job``.
        """
        check_wait(wait_timeout, until)
        self._settings.need_receiver("subscribe()")
        job = await self.submit(on_upload=on_upload, **arguments)
        await job.wait(wait_timeout, until=until, on_event=on_event)
        return job

    async def job(self, job_id: str) -> AsyncJobHandle:
        """The handle of a job that was submitted before, perhaps by another process. Raises ``JobNotFound``."""
        receiver = self._settings.need_receiver("job()")
        answer = await self._call(receiver.build_job(job_id))
        return self._handle(Known.found(receiver.parse_job(answer)))

    async def jobs(
        self,
        *,
        status: str | None = None,
        provider: str | None = None,
        reference: str | None = None,
        user: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        error: str | None = None,
        overdue: bool | None = None,
        video: str | None = None,
        expiring: bool | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        """The receiver's jobs, newest first, of which all that is given is true.

        ``error`` is a part of what is wrong with a job or its video, in any case. ``overdue``: not called back about
        in time, and not ended since. ``video`` is ``none``, ``pending``, ``stored``, ``failed``, ``expired``, or
        ``lost`` for the last two; ``expiring``: it is not stored, and it was said that its link ends. At most 100 at a
        time; ``before`` is the ``next`` of the page before, which may be there even where a page is empty.
        """
        receiver = self._settings.need_receiver("jobs()")
        request = receiver.build_jobs(
            status=status,
            provider=provider,
            reference=reference,
            user=user,
            created_after=created_after,
            created_before=created_before,
            error=error,
            overdue=overdue,
            video=video,
            expiring=expiring,
            before=before,
            limit=limit,
        )
        return receiver.parse_jobs(await self._call(request))

    def _handle(self, known: Known) -> AsyncJobHandle:
        return AsyncJobHandle(self._transport, self._settings, known)

    async def _call(self, request: HTTPRequest) -> HTTPResponse:
        try:
            return await self._transport.send(request)
        except ConnectionTrouble as error:
            raise with_purpose(error, Purpose.RECEIVER, maybe_sent=error.maybe_sent) from error

    async def _play(self, flow: Flow, on_upload: OnUpload | None) -> Submitted:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._take(step, on_upload)
                except ReplyhookError as error:
                    step = flow.throw(error)
                except BaseException:  # canceled, or on_upload's own
                    if step.last_words is not None:  # the receiver must know what may have arrived, however we end
                        with contextlib.suppress(Exception):
                            told = self._transport.send(step.last_words)
                            await asyncio.shield(asyncio.wait_for(told, timeout=_LAST_WORDS_SECONDS))
                    raise
                else:
                    step = flow.send(answer)
        except StopIteration as done:
            ended: Submitted = done.value
            return ended

    async def _take(self, step: Step, on_upload: OnUpload | None) -> HTTPResponse | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._transport.send(step.request, on_upload)
        except ConnectionTrouble as error:
            raise with_purpose(error, step.purpose, maybe_sent=error.maybe_sent) from error
