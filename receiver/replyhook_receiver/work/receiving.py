"""Taking in a video's bytes: bounded in size and in patience, looked at as soon as there is something to see."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from replyhook_receiver.errors import AnswerTooLarge, NetworkTrouble, NotAVideo
from replyhook_receiver.media import SNIFFED_BYTES, check_start
from replyhook_receiver.net import Incoming
from replyhook_receiver.storage.base import Incoming as Part

WINDOW_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 8192


Look = Callable[[Part], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is taken: how much, and how slow it may be over a while (0: as slow as it likes).

    A host that drips must not hold one of the few places for ever.
    """

    max_bytes: int
    bytes_per_second: int = SLOWEST_BYTES_PER_SECOND
    window_seconds: float = WINDOW_SECONDS


async def receive(incoming: Incoming, part: Part, *, bounds: Bounds, look: Look | None = None) -> None:
    """Append the whole body to ``part``; ``look`` is called as bytes come, and may end it by what it raises.

    Raises ``AnswerTooLarge``, ``NetworkTrouble``, ``NotAVideo``, ``LowDisk``.
    """
    start = bytearray()
    is_seen = part.size > 0
    began, size_then = time.monotonic(), part.size
    async for chunk in incoming.chunks:
        if not is_seen:
            start += chunk[:SNIFFED_BYTES]
            if len(start) >= SNIFFED_BYTES:
                check_start(bytes(start))
                is_seen = True
        if part.size + len(chunk) > bounds.max_bytes:
            raise AnswerTooLarge(f"the video is larger than max_video_bytes ({bounds.max_bytes})")
        await part.write(chunk)
        if look is not None:
            await look(part)
        seconds = time.monotonic() - began
        if seconds > bounds.window_seconds:
            if part.size - size_then < seconds * bounds.bytes_per_second:
                raise NetworkTrouble(f"the other side sends less than {bounds.bytes_per_second} bytes a second")
            began, size_then = time.monotonic(), part.size
    await part.flush()
    if part.size == 0:
        raise NotAVideo("an empty answer came in place of the video")
