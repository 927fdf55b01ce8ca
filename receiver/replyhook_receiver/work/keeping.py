"""A video that is wholly here: looked into, kept, described."""

from anyio import to_thread

from replyhook_receiver.media import inspect
from replyhook_receiver.records import StoredVideo
from replyhook_receiver.storage.base import Whole


async def keep(whole: Whole, name: str) -> StoredVideo:
    """Keep it if it is a video. Raises ``NotAVideo``, ``StorageTrouble``."""
    details = await to_thread.run_sync(inspect, whole.path)
    size = whole.size
    return StoredVideo(
        name=name,
        bytes=size,
        sha256=await whole.keep(),
        content_type="video/mp4",
        duration_seconds=details.duration_seconds,
        width=details.width,
        height=details.height,
    )
