"""Fetching a job's video into our storage: whole and checked, or not at all."""

from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

from anyio import to_thread

from replyhook.jobs import AssetStatus
from replyhook.providers import Provider
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.counters import Cause
from replyhook_receiver.errors import (
    AnswerTooLarge,
    CannotAsk,
    DownloadRefused,
    HostNotListed,
    LinkDead,
    NotAVideo,
    ResultMissing,
)
from replyhook_receiver.media import VideoDetails, inspect
from replyhook_receiver.net import Door, HostRule, Incoming
from replyhook_receiver.records import Done, JobRecord, StoredVideo, Task
from replyhook_receiver.storage.base import Incoming as Part
from replyhook_receiver.storage.base import Storage, video_name
from replyhook_receiver.stores.base import Store
from replyhook_receiver.work.asking import Asker
from replyhook_receiver.work.keeping import keep
from replyhook_receiver.work.receiving import receive

MAX_QUESTIONS = 3
"""How often a provider is asked to confirm the links of one job (P8)."""

_DEAD_LINK = frozenset({401, 403, 404, 410})


class Download:
    """Runs download tasks; the subject is the job's id."""

    def __init__(
        self,
        *,
        store: Store,
        storage: Storage,
        door: Door,
        providers: Mapping[str, Provider],
        asker: Asker,
        max_bytes: int,
    ) -> None:
        self._store = store
        self._storage = storage
        self._door = door
        self._providers = providers
        self._max_bytes = max_bytes
        self._asker = asker
        self._confirmed: set[tuple[str, str]] = set()
        self._questions: Counter[str] = Counter()

    async def __call__(self, task: Task) -> Done:
        """Fetch the video, unless it is stored. Raises ``DownloadRefused`` and the other errors of a fetch."""
        job = await self._store.job(task.subject)
        if job is None or job.asset.status is AssetStatus.STORED or job.asset.url is None:
            return Done()
        is_relayed = job.asset.url.startswith(RELAYED)
        name = video_name(job.id, job.created_at if is_relayed else job.finished_at or job.created_at)
        if is_relayed or task.attempt > 1:
            came_before = await self._taken_in(name)
            if came_before is not None:
                return Done(video=came_before)
        if is_relayed:
            raise LinkDead("the video came in the answer to the submit, and is not here any more")
        allows_host = self._providers[job.provider].capabilities.allows_host
        try:
            part, details, sha256 = await self._fetch(job.asset.url, name, allows_host)
        except HostNotListed as error:
            host = await self._confirmed_host(job, job.asset.url, error)
            part, details, sha256 = await self._fetch(
                job.asset.url, name, lambda other: other == host or allows_host(other)
            )
        return Done(
            video=StoredVideo(
                name=name,
                bytes=part.size,
                sha256=sha256,
                content_type="video/mp4",
                duration_seconds=details.duration_seconds,
                width=details.width,
                height=details.height,
            )
        )

    async def _taken_in(self, name: str) -> StoredVideo | None:
        """The video, where an earlier try brought it here and could not keep it, or did not live to tell."""
        whole = await self._storage.taken_in(name)
        if whole is None:
            return None
        try:
            return await keep(whole, name)
        except NotAVideo:
            return None

    async def _fetch(self, url: str, name: str, allows_host: HostRule) -> tuple[Part, VideoDetails, str]:
        async with self._door.fetch(url, allows_host=allows_host) as incoming:
            _check_answer(incoming, self._max_bytes)
            async with self._storage.incoming(name) as part:
                await receive(incoming, part, max_bytes=self._max_bytes)
                details = await to_thread.run_sync(inspect, part.path)
                return part, details, await part.keep()

    async def _confirmed_host(self, job: JobRecord, url: str, error: HostNotListed) -> str:
        """The link's host, if the provider itself names this very link; asked at most once for each link."""
        link = (job.id, url.partition("?")[0])
        if link not in self._confirmed:
            self._questions[job.id] += 1
            if self._questions[job.id] > MAX_QUESTIONS:
                raise HostNotListed(
                    f"{error}, and the provider, asked {MAX_QUESTIONS} times, did not answer"
                ) from error
            try:
                answer = await self._asker.ask(job, Cause.FOREIGN_HOST)
            except (CannotAsk, ResultMissing) as why:
                raise HostNotListed(
                    f"{error}, and the provider could not be asked ({why}): add it to media_hosts"
                ) from why
            named = answer.event.result.url if answer.event and answer.event.result else ""
            if named.partition("?")[0] != url.partition("?")[0]:
                raise HostNotListed(f"{error}, and the provider, asked, does not name this link") from error
            self._confirmed.add(link)
        return urlsplit(url).hostname or ""


def _check_answer(incoming: Incoming, max_bytes: int) -> None:
    if incoming.status in _DEAD_LINK:
        raise LinkDead(f"the link is dead (HTTP {incoming.status})")
    if incoming.status != 200:
        raise DownloadRefused(f"the media host answered {incoming.status}")
    if incoming.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotAVideo("the media host sent the video in a coding that was not asked for")
    length = incoming.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > max_bytes):
        raise AnswerTooLarge(f"the video is larger than max_video_bytes ({max_bytes})")
