"""Fetching a job's video into our storage: whole and checked, or not at all."""

from collections.abc import Mapping

from anyio import to_thread

from replyhook.jobs import AssetStatus
from replyhook.providers import Provider
from replyhook_receiver.errors import AnswerTooLarge, DownloadRefused, LinkDead, NotAVideo
from replyhook_receiver.media import inspect
from replyhook_receiver.net import Door, Incoming
from replyhook_receiver.records import Done, StoredVideo, Task
from replyhook_receiver.storage import Incoming as Part
from replyhook_receiver.storage import Storage, video_name
from replyhook_receiver.stores.base import Store

_DEAD_LINK = frozenset({401, 403, 404, 410})


class Download:
    """Runs download tasks; the subject is the job's id."""

    def __init__(
        self, *, store: Store, storage: Storage, door: Door, providers: Mapping[str, Provider], max_bytes: int
    ) -> None:
        self._store = store
        self._storage = storage
        self._door = door
        self._providers = providers
        self._max_bytes = max_bytes

    async def __call__(self, task: Task) -> Done:
        """Fetch the video, unless it is stored. Raises ``DownloadRefused``, ``NotAVideo``, the door's errors."""
        job = await self._store.job(task.subject)
        if job is None or job.asset.status is AssetStatus.STORED or job.asset.url is None:
            return Done()
        capabilities = self._providers[job.provider].capabilities
        name = video_name(job.id, job.finished_at or job.created_at)
        async with self._door.fetch(job.asset.url, allows_host=capabilities.allows_host) as incoming:
            _check_answer(incoming, self._max_bytes)
            async with self._storage.incoming(name) as part:
                await self._receive(incoming, part)
                details = await to_thread.run_sync(inspect, part.path)
                sha256 = await part.keep()
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

    async def _receive(self, incoming: Incoming, part: Part) -> None:
        async for chunk in incoming.chunks:
            if part.size + len(chunk) > self._max_bytes:
                raise AnswerTooLarge(f"the video is larger than max_video_bytes ({self._max_bytes})")
            await part.write(chunk)
        await part.flush()
        length = incoming.headers.get("content-length")
        if length is not None and length != str(part.size):
            raise NotAVideo(f"the video was cut off after {part.size} of {length} bytes")


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
