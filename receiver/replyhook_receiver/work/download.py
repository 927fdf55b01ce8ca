"""Bringing a job's video into our storage: whole and checked, or not at all."""

import logging
from collections.abc import Mapping

from anyio import to_thread

from replyhook.jobs import AssetStatus
from replyhook.providers import Provider
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.errors import AnswerTooLarge, HostNotListed, LinkDead, LinkRefused, NotAVideo, StorageTrouble
from replyhook_receiver.records import JobRecord
from replyhook_receiver.storage.base import Incoming as Part
from replyhook_receiver.storage.base import Storage, job_of, video_name
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tasks import Done, StoredVideo, Task
from replyhook_receiver.work.confirming import HostConfirmer
from replyhook_receiver.work.fetching import Fetcher
from replyhook_receiver.work.keeping import keep, keep_or_put_aside
from replyhook_receiver.work.refreshing import LinkRefresher
from replyhook_receiver.work.storage_state import StorageState
from replyhook_receiver.work.turns import Turn, Turns

_log = logging.getLogger(__name__)


class Download:
    """Runs download tasks; the subject is the job's id. What a try leaves behind, the next one goes on with."""

    def __init__(
        self,
        *,
        store: Store,
        storage: Storage,
        fetcher: Fetcher,
        providers: Mapping[str, Provider],
        confirmer: HostConfirmer,
        refresher: LinkRefresher,
        turns: Turns,
        storage_state: StorageState,
    ) -> None:
        self._store = store
        self._storage = storage
        self._fetcher = fetcher
        self._providers = providers
        self._confirmer = confirmer
        self._refresher = refresher
        self._turns = turns
        self._storage_state = storage_state

    async def __call__(self, task: Task) -> Done:
        """Fetch the video, unless it is stored. Raises ``LinkDead``, and what a fetch and a keep do."""
        job = await self._store.job(task.subject)
        url = job.asset.url if job is not None and job.asset.status is not AssetStatus.STORED else None
        if job is None or url is None:
            return Done()
        with self._turns.take(job, url) as turn:
            try:
                done = await self._bring(job, url, turn)
            except StorageTrouble as error:
                self._storage_state.refuses(error)
                raise
        if done.video is not None:
            self._storage_state.takes()
        return done

    async def _bring(self, job: JobRecord, url: str, turn: Turn) -> Done:
        name = name_of(job)
        came_before = await self._taken_in(name)
        if came_before is not None:
            return Done(video=came_before)
        if url.startswith(RELAYED):
            raise LinkDead("the video came in the answer to the submit, and is not here any more")
        async with self._storage.incoming(name, resume=True) as part:
            turn.begin(part)
            try:
                await self._fetch(job, url, part, turn)
                return Done(video=await keep(self._storage, part, name))
            except (NotAVideo, AnswerTooLarge):
                await part.begin(b"")  # nobody wants to go on with it
                raise
            except LinkRefused as error:
                raise await self._refresher.after_refusal(job, error) from error

    async def _taken_in(self, name: str) -> StoredVideo | None:
        """The video, where an earlier try brought it here and could not keep it, or did not live to tell."""
        async with self._storage.unchecked(name) as unchecked:
            if unchecked is not None:
                try:
                    return await keep_or_put_aside(self._storage, unchecked, name)
                except NotAVideo as error:
                    raise LinkDead(str(error)) from error
        whole = await self._storage.taken_in(name)
        if whole is None:
            return None
        try:
            return await keep(self._storage, whole, name)
        except NotAVideo:
            return None

    async def give_up(self, task: Task) -> None:
        """Leave nothing behind of a video that is lost, and say so."""
        job = await self._store.job(task.subject)
        if job is None or job.asset.status not in (AssetStatus.FAILED, AssetStatus.EXPIRED):
            return  # there is another link to be tried
        await self._storage.forget(name_of(job))
        _log.error("the video of %s, which %s was paid for, is lost: %s", job.id, job.provider, job.asset.problem)

    async def clear_up(self) -> None:
        """Remove what killed processes left of videos that nobody fetches any more."""
        for name in await to_thread.run_sync(self._storage.unfinished):
            job = await self._store.job(job_of(name))
            if job is None or job.asset.status is not AssetStatus.PENDING or name_of(job) != name:
                await self._storage.forget(name)

    async def _fetch(self, job: JobRecord, url: str, part: Part, turn: Turn) -> None:
        allows_host = self._providers[job.provider].capabilities.allows_host
        try:
            await self._fetcher.fetch(url, part, allows_host, turn.look)
        except HostNotListed as error:
            host = await self._confirmer.confirm(job, url, error)
            await self._fetcher.fetch(url, part, lambda other: other == host or allows_host(other), turn.look)


def name_of(job: JobRecord) -> str:
    """What a job's video is called in storage."""
    is_relayed = job.asset.url is not None and job.asset.url.startswith(RELAYED)
    return video_name(job.id, job.created_at if is_relayed else job.finished_at or job.created_at)
