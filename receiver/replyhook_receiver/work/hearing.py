"""What has come of a paid answer so far, so that none of it is lost when it cannot be read."""

from collections.abc import AsyncIterator
from dataclasses import replace

from replyhook_receiver.media import SNIFFED_BYTES, is_start_of_mp4
from replyhook_receiver.net import MAX_ANSWER_BYTES, Incoming

_OF_A_VIDEO_BYTES = 1024


class Heard:
    """The head of an answer and the beginning of its body, as they were when they came."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        self.is_video = False
        self._body = bytearray()

    @property
    def is_success(self) -> bool:
        """Whether what came says that the submit was taken."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def body(self) -> bytes:
        """As much of it as is worth keeping: of a video only what tells that it is one."""
        return bytes(self._body[: _OF_A_VIDEO_BYTES if self.is_video else MAX_ANSWER_BYTES])

    async def listen(self, incoming: Incoming) -> Incoming:
        """The same answer, looked at: whether it is a video is told by its first bytes, whatever it is called."""
        self.status, self.headers = incoming.status, tuple(incoming.headers.items())
        begun: list[bytes] = []
        async for chunk in incoming.chunks:
            begun.append(chunk)
            self._body += chunk
            if len(self._body) >= SNIFFED_BYTES:
                break
        self.is_video = self.is_success and is_start_of_mp4(bytes(self._body))
        return replace(incoming, chunks=self._chunks(begun, incoming.chunks))

    async def _chunks(self, begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        for chunk in begun:
            yield chunk
        most = _OF_A_VIDEO_BYTES if self.is_video else MAX_ANSWER_BYTES
        async for chunk in rest:
            if len(self._body) < most:
                self._body += chunk[: most - len(self._body)]
            yield chunk
