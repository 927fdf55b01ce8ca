"""Taking a kept callback once more: read by today's parser, and, where that is asked for, applied by today's rules.

Only what was verified when it came was kept, and only that can be replayed; how far it is believed does not change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from replyhook.errors import InvalidRequest, UnreadableMessage
from replyhook.jobs import JobEvent
from replyhook.messages import Callback
from replyhook.providers import Provider
from replyhook_receiver.errors import BindConflict, UnknownCallback, UnknownJob
from replyhook_receiver.ingest import MAX_LINK_LENGTH
from replyhook_receiver.records import JobRecord, ReportSource, Submission, SubmissionOutcome
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import KeptCallback
from replyhook_receiver.stores.replaying import Replay, Replayed, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a callback says today, and what was kept of it; ``problem`` is why it cannot be read, where it cannot."""

    now: JobEvent | None = field(repr=False)
    kept: JobEvent | None = field(repr=False)
    problem: str | None


class Replayer:
    """Replays and binds kept callbacks."""

    def __init__(self, *, store: Store, providers: Mapping[str, Provider], now: Callable[[], datetime]) -> None:
        self._store = store
        self._providers = providers
        self._now = now

    async def replay(self, callback_id: str, steps: frozenset[Step], *, keeps: bool) -> tuple[Reading, Replayed]:
        """Take a callback once more. Raises ``UnknownCallback``, ``InvalidRequest``."""
        kept = await self._kept(callback_id)
        if kept.callback.source is ReportSource.REPLAY:
            of = ", ".join(value for _, value in kept.callback.headers)
            raise InvalidRequest("callback", callback_id, f"a callback that came; this is itself a replay of {of}")
        reading = self._read(kept)
        # Of a callback only today's reading counts: what was kept of it does not hold all that tells whose it is.
        event = kept.told if reading.now is None and kept.callback.source is not ReportSource.CALLBACK else reading.now
        replay = Replay(callback_id=callback_id, event=event, steps=steps - {Step.PARSE}, keeps=keeps)
        return reading, await self._store.replays.replay(replay, now=self._now())

    async def bind(self, callback_id: str, job_id: str) -> JobRecord:
        """Say whose an orphan is: the job gets the provider's id that the orphan names, and all that was told of it.

        Raises ``UnknownCallback``, ``UnknownJob``, ``BindConflict``, ``SubmissionConflict``.
        """
        kept = await self._kept(callback_id)
        callback = kept.callback
        job = await self._store.job(job_id)
        if job is None:
            raise UnknownJob(f"there is no job {job_id[:64]}")
        if callback.job_id is not None:
            if callback.job_id == job.id:
                return job
            raise BindConflict(f"the callback belongs to {callback.job_id} already")
        if (job.provider, job.account) != (callback.provider, kept.account):
            raise BindConflict(f"the callback is of {callback.provider}'s account {kept.account}, the job is not")
        event = kept.told
        if event is None or event.provider_job_id is None:
            raise BindConflict("the callback names no job of the provider's; if it can be read today, replay it first")
        submission = Submission(outcome=SubmissionOutcome.ACCEPTED, provider_job_id=event.provider_job_id)
        return await self._store.record_submission(job.id, submission, now=self._now())

    async def _kept(self, callback_id: str) -> KeptCallback:
        kept = await self._store.history.callback(callback_id)
        if kept is None:
            raise UnknownCallback(f"there is no callback {callback_id[:64]}")
        return kept

    def _read(self, kept: KeptCallback) -> Reading:
        callback = kept.callback
        if callback.dropped_bytes is not None:
            problem = "its body was dropped because it is old (keep_bodies_days): what was read then still holds"
            return Reading(now=None, kept=kept.told, problem=problem)
        if callback.source is ReportSource.RECONCILE:
            problem = "it is an answer to a question of ours, not a callback: what was read then still holds"
            return Reading(now=None, kept=kept.told, problem=problem)
        if callback.source is ReportSource.RELAY and _is_video(callback.headers):
            problem = "the answer was the video itself: there is nothing to read"
            return Reading(now=None, kept=kept.told, problem=problem)
        as_it_came = Callback(
            provider=callback.provider,
            headers=callback.headers,
            body=callback.body,
            received_at=callback.received_at,
        )
        try:
            event = self._providers[callback.provider].parse_callback(as_it_came)
        except UnreadableMessage as error:
            return Reading(now=None, kept=kept.told, problem=str(error))
        if event.result is not None and len(event.result.url) > MAX_LINK_LENGTH:
            event = replace(event, result=None)  # as when it came
        return Reading(now=event, kept=kept.told, problem=None)


def _is_video(headers: tuple[tuple[str, str], ...]) -> bool:
    return any(name == "content-type" and value.lower().startswith("video/") for name, value in headers)
