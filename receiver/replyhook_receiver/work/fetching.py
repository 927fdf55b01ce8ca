"""One try at fetching a link into a part: gone on with where that is possible, begun anew where it is not."""

from replyhook_receiver.errors import AnswerTooLarge, DownloadRefused, LinkRefused, LowDisk, NetworkTrouble, NotAVideo
from replyhook_receiver.net import Door, HostRule, Incoming
from replyhook_receiver.storage.base import Incoming as Part
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.work.receiving import Bounds, Look, receive
from replyhook_receiver.work.resuming import Mark, announced_length

_REFUSED = frozenset({401, 403, 404, 410})
_WHOLE, _REST, _NO_MORE = 200, 206, 416


class Fetcher:
    """Fetches links. ``min_free_bytes`` must be left on the disk when a video is there."""

    def __init__(self, *, door: Door, storage: Storage, bounds: Bounds, min_free_bytes: int = 0) -> None:
        self._door = door
        self._storage = storage
        self._bounds = bounds
        self._min_free_bytes = min_free_bytes

    async def fetch(self, url: str, part: Part, allows_host: HostRule, look: Look | None = None) -> None:
        """Let ``part`` hold all of ``url``, as many bytes as were announced; ``look`` as ``receive`` has it.

        Raises ``LinkRefused``, ``DownloadRefused``, ``NotAVideo``, ``AnswerTooLarge``, ``LowDisk``, the door's errors.
        """
        mark = Mark.read(part.note, url) if part.size else None
        if mark is not None:
            headers = mark.asks_from(part.size)
            async with self._door.fetch(url, allows_host=allows_host, headers=headers) as incoming:
                if await self._go_on(url, part, mark, incoming, look):
                    return
        async with self._door.fetch(url, allows_host=allows_host) as incoming:
            await self._begin(url, part, incoming, look)

    async def _go_on(self, url: str, part: Part, mark: Mark, incoming: Incoming, look: Look | None) -> bool:
        """Take what came of asking for the rest; False where everything has to be asked for."""
        if incoming.status == _REST and mark.is_continued_by(incoming.headers, part.size):
            _check_coding(incoming)
            await self._receive(incoming, part, mark.length_of_all(incoming.headers), look)
            return True
        if incoming.status == _NO_MORE and mark.is_whole_at(incoming.headers, part.size):
            return True
        if incoming.status in (_REST, _NO_MORE):
            return False
        await self._begin(url, part, incoming, look)
        return True

    async def _begin(self, url: str, part: Part, incoming: Incoming, look: Look | None) -> None:
        if incoming.status in _REFUSED:
            raise LinkRefused(f"the link is dead (HTTP {incoming.status})")
        if incoming.status != _WHOLE:
            raise DownloadRefused(f"the media host answered {incoming.status}")
        _check_coding(incoming)
        mark = Mark.of(url, incoming.headers)
        await part.begin(mark.as_note() if mark else b"")
        await self._receive(incoming, part, announced_length(incoming.headers), look)

    async def _receive(self, incoming: Incoming, part: Part, length: int | None, look: Look | None) -> None:
        if length is not None and length > self._bounds.max_bytes:
            raise AnswerTooLarge(f"the video is larger than max_video_bytes ({self._bounds.max_bytes})")
        if self._storage.free_bytes() - ((length or part.size) - part.size) < self._min_free_bytes:
            raise LowDisk("low disk: less than min_free_disk_bytes would be left where videos are stored")
        await receive(incoming, part, bounds=self._bounds, look=look)
        if length is not None and length != part.size:
            raise NetworkTrouble(f"the video was cut off after {part.size} of {length} bytes")


def _check_coding(incoming: Incoming) -> None:
    if incoming.headers.get("content-encoding", "identity").lower() != "identity":
        raise NotAVideo("the media host sent the video in a coding that was not asked for")
