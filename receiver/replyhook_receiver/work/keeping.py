"""A video that is wholly here: looked into, kept with its poster, described."""

from anyio import to_thread

from replyhook_receiver.errors import LowDisk, NotAVideo
from replyhook_receiver.media_pool import Look
from replyhook_receiver.storage.base import Storage, Unchecked, Whole, poster_name, rejected_name
from replyhook_receiver.tasks import StoredVideo


async def keep(storage: Storage, whole: Whole, name: str) -> StoredVideo:
    """Keep it if it is a video. Raises ``NotAVideo``, ``LowDisk``, ``StorageTrouble``."""
    size = whole.size
    look = Look(whole.path)
    try:
        details, picture = await to_thread.run_sync(look, abandon_on_cancel=True)
    finally:
        look.stop()
    if picture is not None:
        try:
            await storage.put(poster_name(name), picture)
        except LowDisk:
            picture = None  # a video without a poster is still a video
    return StoredVideo(
        name=name,
        bytes=size,
        sha256=await whole.keep(),
        content_type="video/mp4",
        duration_seconds=details.duration_seconds,
        width=details.width,
        height=details.height,
        poster=None if picture is None else poster_name(name),
    )


async def keep_or_put_aside(storage: Storage, whole: Unchecked, name: str) -> StoredVideo:
    """Keep what was paid for and cannot be had again; what is no video is left for a person to look at."""
    try:
        return await keep(storage, whole, name)
    except NotAVideo as error:
        await whole.reject()
        raise NotAVideo(f"{error}; what came is kept as {rejected_name(name)} where videos are stored") from error
