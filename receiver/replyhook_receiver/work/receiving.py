"""Taking in a video's bytes: bounded in size and in patience, and as many as were announced."""

import time

from replyhook_receiver.errors import AnswerTooLarge, NetworkTrouble, NotAVideo
from replyhook_receiver.net import Incoming
from replyhook_receiver.storage.base import Incoming as Part

_SLOW_AFTER_SECONDS = 30.0
_SLOWEST_BYTES_PER_SECOND = 8192
"""A host that drips must not hold one of the few places for ever."""


async def receive(incoming: Incoming, part: Part, *, max_bytes: int) -> None:
    """Write the whole body to ``part``. Raises ``AnswerTooLarge``, ``NetworkTrouble``, ``NotAVideo`` (cut off)."""
    started = time.monotonic()
    async for chunk in incoming.chunks:
        seconds = time.monotonic() - started
        if seconds > _SLOW_AFTER_SECONDS and part.size < seconds * _SLOWEST_BYTES_PER_SECOND:
            raise NetworkTrouble(f"the other side sends less than {_SLOWEST_BYTES_PER_SECOND} bytes a second")
        if part.size + len(chunk) > max_bytes:
            raise AnswerTooLarge(f"the video is larger than max_video_bytes ({max_bytes})")
        await part.write(chunk)
    await part.flush()
    length = incoming.headers.get("content-length")
    if length is not None and length != str(part.size):
        raise NotAVideo(f"the video was cut off after {part.size} of {length} bytes")
