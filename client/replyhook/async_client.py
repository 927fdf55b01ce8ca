"""The async client: the plain one with ``await``."""

import asyncio
import contextlib
import math
import os
import random
import time
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from replyhook.arguments import ClientSettings, EstimateArguments, SubmitArguments, file_path
from replyhook.errors import ReceiverUnavailable, ReplyhookError, SubmitOutcomeUnknown, WaitTimeout
from replyhook.flows import Flow, Pause, Step, Submission, Submitted, with_purpose
from replyhook.jobs import ExtendRequest
from replyhook.messages import HTTPResponse
from replyhook.notifications import Notification
from replyhook.patience import Patience
from replyhook.planning import estimate, prepare
from replyhook.routing import Estimate, Routing, Tried
from replyhook.transport import AsyncTransport, ConnectionTrouble
from replyhook.watching import Until, Watch, check_wait

_LAST_WORDS_SECONDS = 5.0


class AsyncJobHandle:
    """A submitted job. ``id`` is ours; ``request`` shows what was really asked for.

    ``tried`` are the providers that had refused it before, each with its error.
    """

    def __init__(
        self, client: "AsyncClient", submission: Submission, provider_job_id: str | None, *, tried: Tried = ()
    ) -> None:
        self._client = client
        self.id = submission.job_id
        self.provider = submission.provider.capabilities.name
        self.reference = submission.reference
        self.request: ExtendRequest = submission.request
        self.provider_job_id = provider_job_id
        self.tried = tried

    def __repr__(self) -> str:
        return f"<AsyncJobHandle {self.id} at {self.provider}>"

    async def wait(self, timeout: float | None = None, *, until: Until = "stored") -> Notification:
        """Block until the video is stored (or the provider has ``succeeded``), told by the receiver's push.

        ``timeout`` is in seconds; None waits for ever. Returns the notification that ended the wait.
        Raises ``JobFailed``, ``WaitTimeout``, and the receiver's refusals.
        """
        return await self._client._wait(self, timeout, until)

    async def download(self, path: str | os.PathLike[str]) -> Path:
        """Save the stored video as the file ``path``, from the receiver: the provider's own link may be long dead.

        Raises ``JobNotFound`` when there is no stored video (yet), ``UnreadableMessage`` when bytes are missing.
        """
        return await self._client._download(self.id, Path(path))


class AsyncClient:
    """Submits extend jobs. Close it when done, or use it as a context manager.

    ``receiver_url`` and ``api_key`` are the receiver's; ``provider_keys`` maps provider names to their API keys, and
    ``providers`` to further settings (``{"useapi": {"submit_path": "videos/extend-v4"}}``). ``timeout`` is in seconds
    and for one call. Raises ``ConfigurationError`` for what cannot be right.
    """

    def __init__(
        self,
        *,
        receiver_url: str,
        api_key: str,
        provider_keys: Mapping[str, str] | None = None,
        providers: Mapping[str, Mapping[str, Any]] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._settings = ClientSettings.build(receiver_url, api_key, provider_keys, providers)
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

    async def submit(self, **arguments: Unpack[SubmitArguments]) -> AsyncJobHandle:
        """Submit one extend job and return its handle once it is accepted; the arguments are ``SubmitArguments``'.

        ``provider`` may be several, or ``auto``: the first that can do the job gets it, and the next one is asked only
        when it certainly started nothing and says nothing against the job; ``job.tried`` tells of those.
        Raises ``InvalidRequest`` before anything is sent; ``SubmissionRefused`` and its kinds, ``NoProviderLeft``, or
        ``ProviderUnavailable``, when nothing was started; ``SubmitOutcomeUnknown``, with the handle to wait on, when
        the job may have been started: it is never sent twice; ``ReceiverError`` when the receiver would not take it.
        """
        plan, seconds = prepare(self._settings, arguments)
        patience = Patience(seconds, clock=time.monotonic, jitter=random.random)
        routing = Routing(plan, self._settings.receiver, patience)
        try:
            submitted = await self._play(routing.steps())
        except SubmitOutcomeUnknown as error:
            error.job = AsyncJobHandle(self, routing.submission, None, tried=routing.tried)
            raise
        return AsyncJobHandle(self, routing.submission, submitted.provider_job_id, tried=routing.tried)

    def estimate(self, **arguments: Unpack[EstimateArguments]) -> tuple[Estimate, ...]:
        """What each provider would ask for this job, or why it would not get it; the arguments are ``submit``'s.

        In the order in which they would be asked; without ``provider`` it is about all. Nothing is sent.
        """
        return estimate(self._settings, arguments)

    async def _play(self, flow: Flow) -> Submitted:
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._take(step)
                except ReplyhookError as error:
                    step = flow.throw(error)
                except asyncio.CancelledError:
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

    async def _take(self, step: Step) -> HTTPResponse | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._transport.send(step.request)
        except ConnectionTrouble as error:
            raise with_purpose(error, step.purpose, maybe_sent=error.maybe_sent) from error

    async def _wait(self, job: AsyncJobHandle, timeout: float | None, until: Until) -> Notification:
        deadline = None if timeout is None else time.monotonic() + timeout
        check_wait(timeout, until)
        watch = Watch(job, until)
        while True:
            left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.001)
            request = self._settings.receiver.build_stream(job.id, after=watch.cursor, seconds=left)
            try:
                async with aclosing(self._transport.events(request, seconds=left)) as events:
                    async for event in events:
                        if isinstance(event, HTTPResponse):
                            self._settings.receiver.raise_for_problem(event)
                        elif ended := watch.take(event.id, event.data):
                            return ended
                        self._check_deadline(job, deadline, watch)
            except (ConnectionTrouble, ReceiverUnavailable) as error:
                if deadline is None or time.monotonic() < deadline:
                    watch.trouble = str(error)  # the stream is opened again where it was cut
            self._check_deadline(job, deadline, watch)
            await asyncio.sleep(min(watch.next_pause(), left))

    def _check_deadline(self, job: AsyncJobHandle, deadline: float | None, watch: Watch) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeout(watch.timed_out(), job=job)

    async def _download(self, job_id: str, path: Path) -> Path:
        try:
            answer = await self._transport.download(self._settings.receiver.build_video(job_id), file_path(path))
        except ConnectionTrouble as error:
            raise ReceiverUnavailable(f"the receiver could not be reached: {error}") from error
        self._settings.receiver.raise_unless_video(answer)
        return path
