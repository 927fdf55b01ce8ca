"""Submitting a job ourselves, once: for providers that cannot call back, their answer to the submit is the callback."""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime

import msgspec
from anyio import to_thread

from replyhook.errors import (
    ProviderUnavailable,
    RateLimited,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    UnreadableMessage,
)
from replyhook.ids import new_id
from replyhook.jobs import Asset, ExtendRequest, JobEvent, JobStatus, SourceKind, Trust, VideoSource
from replyhook.messages import Callback, HTTPResponse
from replyhook.patience import Patience
from replyhook.providers import USUAL_BUSY_PAUSE_SECONDS, CallbackKind, Provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.errors import (
    AnswerTooLarge,
    LowDisk,
    NetworkRefused,
    NetworkTrouble,
    NotAVideo,
    StorageTrouble,
    Unreachable,
)
from replyhook_receiver.media import check_start
from replyhook_receiver.net import MAX_ANSWER_BYTES, Door, Incoming
from replyhook_receiver.records import JobRecord, Report, ReportSource, Submission, SubmissionOutcome
from replyhook_receiver.storage.base import Storage, Unchecked, video_name
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Done, NotNow, StoredVideo, Task
from replyhook_receiver.work.hearing import Heard
from replyhook_receiver.work.keeping import keep, keep_or_put_aside
from replyhook_receiver.work.receiving import Bounds, receive

_log = logging.getLogger(__name__)

BLOCKING_SECONDS = 900.0
"""How long a blocking call may stay silent: about 99 s are typical (PROVIDERS §4.5)."""


class Relay:
    """Runs relay tasks; the subject is the job's id. Whatever happens in the middle, the submit is never sent twice.

    One that was certainly refused, and only for now, is: for ``patience_seconds`` from its first refusal on, in all.
    """

    def __init__(
        self,
        *,
        store: Store,
        storage: Storage,
        door: Door,
        providers: Mapping[str, Provider],
        tokens: TokenKeys,
        public_url: str,
        bounds: Bounds,
        patience_seconds: float,
        min_free_bytes: int = 0,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._storage = storage
        self._door = door
        self._providers = providers
        self._tokens = tokens
        self._public_url = public_url
        self._bounds = bounds
        self._patience_seconds = patience_seconds
        self._min_free_bytes = min_free_bytes
        self._now = now

    async def __call__(self, task: Task) -> Done | NotNow:
        """Submit, unless that was begun before; the outcome is part of what is returned, never raised.

        ``LowDisk`` is raised before anything is begun, and ``PartInUse`` where a process that has not ended has it.
        """
        job = await self._store.job(task.subject)
        if job is None or job.relay_video is None or job.submission is not None:
            return Done()
        if not await self._store.relays.is_begun(job.id):
            if job.finished_at is not None:  # canceled
                return Done()
            await self._check_room(job.provider)
        refused_since = await self._store.relays.refused_since(job.id)
        if not await self._store.begin_submit(job.id, now=self._now()):
            # Begun before, or canceled a moment ago.
            return await self._after_stop(job) if await self._store.relays.is_begun(job.id) else Done()
        provider = self._providers[job.provider]
        token = self._tokens.mint(provider=job.provider, job_id=job.id, now=job.created_at)
        request = provider.build_submit(
            ExtendRequest(**job.request),
            VideoSource(kind=SourceKind.URL, text=job.relay_video),
            reply_url=build_reply_url(self._public_url, provider=job.provider, token=token),
            job_id=job.id,
        )
        heard = Heard()
        try:
            async with self._door.answer(request, silence_seconds=BLOCKING_SECONDS) as incoming:
                return await self._read(job, provider, await heard.listen(incoming), is_video=heard.is_video)
        except (Unreachable, NetworkRefused, SubmissionRefused, ProviderUnavailable) as error:
            return self._refused(provider, error, refused_since)
        except (NetworkTrouble, AnswerTooLarge, NotAVideo, LowDisk, UnreadableMessage, SubmitOutcomeUnknown) as error:
            return self._unread(job, heard, f"{type(error).__name__}: {error}")

    async def _check_room(self, provider: str) -> None:
        """Raise ``LowDisk`` where an answer that is the video could not be kept: it cannot be asked for again."""
        if self._providers[provider].capabilities.callback is not CallbackKind.NONE:
            return
        free = await to_thread.run_sync(self._storage.free_bytes)
        if free < self._min_free_bytes:
            raise LowDisk("low disk: less than min_free_disk_bytes are free where the video would be stored")

    def _unread(self, job: JobRecord, heard: Heard, why: str) -> Done:
        """An answer that may be a paid video and could not be read: kept as it came, to be read again by hand."""
        if not heard.is_success:
            return _unknown(why)
        report = self._report(job, None, heard.headers, heard.body)
        return replace(_unknown(f"{why}; what was answered is kept ({report.callback_id})"), report=report)

    def _refused(
        self,
        provider: Provider,
        error: Unreachable | NetworkRefused | SubmissionRefused | ProviderUnavailable,
        since: datetime | None,
    ) -> Done | NotNow:
        """What becomes of a submit that certainly started nothing: sent again later, or the job's end."""
        now = self._now()
        waited = max((now - since).total_seconds(), 0.0) if since is not None else 0.0
        pause = None
        if isinstance(error, RateLimited):
            error.waited_seconds = waited
            pause = self._next_pause(error, provider.capabilities.busy_pause_seconds, waited)
        elif error.retryable:
            pause = self._next_pause(RateLimited(str(error)), USUAL_BUSY_PAUSE_SECONDS, waited)
        problem = f"{type(error).__name__}: {error}"
        if pause is not None:
            return NotNow(due_at=now + timedelta(seconds=pause), problem=problem)
        return Done(submission=Submission(outcome=SubmissionOutcome.REFUSED, error=problem))

    def _next_pause(self, error: RateLimited, usual: tuple[float, float] | None, waited: float) -> float | None:
        patience = Patience(self._patience_seconds - waited, clock=float, jitter=random.random)
        return patience.next_pause(error, usual)

    async def _read(self, job: JobRecord, provider: Provider, incoming: Incoming, *, is_video: bool) -> Done:
        if is_video:
            return await self._keep_video(job, incoming)
        content_type = incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_success = 200 <= incoming.status < 300
        body = await _whole(incoming)
        if is_success and content_type.startswith("video/"):
            check_start(body)
        answers_later = provider.capabilities.callback is not CallbackKind.NONE
        dated = {"date": format_datetime(self._now(), usegmt=True), **incoming.headers}  # a Retry-After may be a date
        response = HTTPResponse(status=incoming.status, headers=dated, body=body)
        if not is_success or answers_later:
            return _accepted(provider.parse_submit(response))
        headers = (("content-type", content_type),)
        callback = Callback(provider=job.provider, headers=headers, body=body, received_at=self._now())
        event = provider.parse_callback(callback)
        if event.result is None and event.status is not JobStatus.FAILED:  # the asynchronous mode: it has an id instead
            return _accepted(provider.parse_submit(response))
        return Done(
            submission=Submission(outcome=SubmissionOutcome.ACCEPTED),
            report=self._report(job, event, headers, body),
        )

    async def _after_stop(self, job: JobRecord) -> Done:
        """What a stop in the middle left: nothing that tells, or the whole video, if it had come that far."""
        # What lies there of a provider's job that calls back came by a link, and says nothing of the submit.
        if self._providers[job.provider].capabilities.callback is CallbackKind.NONE:
            name = video_name(job.id, job.created_at)
            async with self._storage.unchecked(name) as unchecked:
                if unchecked is not None:
                    return await self._kept_after_stop(job, unchecked)
            whole = await self._storage.taken_in(name)
            if whole is not None:
                return await self._kept(job, whole.size, keep(self._storage, whole, name), {})
        return _unknown("the receiver was stopped in the middle of the submit")

    async def _kept_after_stop(self, job: JobRecord, whole: Unchecked) -> Done:
        name = video_name(job.id, job.created_at)
        try:
            return await self._kept(job, whole.size, keep_or_put_aside(self._storage, whole, name), {})
        except NotAVideo as error:
            return _unknown(f"{type(error).__name__}: {error}")

    async def _keep_video(self, job: JobRecord, incoming: Incoming) -> Done:
        """A body that is the video itself goes straight to storage; what is kept of it is a callback of our own."""
        name = video_name(job.id, job.created_at)
        async with self._storage.incoming(name) as part:
            await receive(incoming, part, bounds=self._bounds)
            await part.settle()  # before a look that a stop may come upon: it cannot be asked for again
            return await self._kept(job, part.size, keep_or_put_aside(self._storage, part, name), incoming.headers)

    async def _kept(
        self, job: JobRecord, size: int, keeping: Awaitable[StoredVideo], headers: Mapping[str, str]
    ) -> Done:
        video: StoredVideo | None
        try:
            video = await keeping
        except (StorageTrouble, LowDisk) as error:
            _log.warning("the video of %s waits here: %s", job.id, error)
            video = None  # its download begins with what is here
        content_type = headers.get("content-type", "")
        facts = {"content_type": content_type, "bytes": size, "sha256": video.sha256 if video else None}
        event = JobEvent(
            provider_job_id=None, status=JobStatus.SUCCEEDED, result=Asset(url=f"{RELAYED}{job.id}", bytes=size)
        )
        return Done(
            submission=Submission(outcome=SubmissionOutcome.ACCEPTED),
            report=self._report(job, event, tuple(headers.items()), msgspec.json.encode(facts)),
            video=video,
        )

    def _report(
        self, job: JobRecord, event: JobEvent | None, headers: tuple[tuple[str, str], ...], body: bytes
    ) -> Report:
        now = self._now()
        return Report(
            callback_id=new_id("cb", at=now.timestamp()),
            provider=job.provider,
            account=job.account,
            job_id=job.id,
            received_at=now,
            headers=headers,
            body=body,
            trust=Trust.RELAYED,
            event=event,
            source=ReportSource.RELAY,
        )


async def _whole(incoming: Incoming) -> bytes:
    body = bytearray()
    async for chunk in incoming.chunks:
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _accepted(provider_job_id: str) -> Done:
    return Done(submission=Submission(outcome=SubmissionOutcome.ACCEPTED, provider_job_id=provider_job_id))


def _unknown(why: str) -> Done:
    return Done(submission=Submission(outcome=SubmissionOutcome.UNKNOWN, error=f"submit_unknown: {why}"))
