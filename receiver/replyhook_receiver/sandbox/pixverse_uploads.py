"""PixVerse's uploads and their published limits. https://docs.platform.pixverse.ai (read 2026-11). Signs nothing."""

import random
import uuid
from pathlib import Path

import anyio
from anyio import to_thread
from starlette.requests import Request

from replyhook_receiver.sandbox.bodies import UPLOAD_LIMIT_BYTES, UnreadableBody, read_parts
from replyhook_receiver.sandbox.outbound import OutboundError
from replyhook_receiver.sandbox.pixverse_fields import refusal
from replyhook_receiver.sandbox.stage import Refusal, Stage
from replyhook_receiver.sandbox.video import UnusableVideo, measure

FETCH_TIMEOUT_SECONDS = 60.0
LARGEST_BYTES = 50 * 1024 * 1024
LONGEST_SECONDS = 30.0
LARGEST_SIDE_PIXELS = 1920


class PixVerseUploads:
    """What was uploaded, by ``media_id``. The ErrCodes of the refusals are not published; ours."""

    def __init__(self, stage: Stage, provider: str) -> None:
        self._stage = stage
        self._provider = provider
        self._names: dict[int, str] = {}

    def find(self, media_id: int) -> Path:
        """The file. Raises a refusal."""
        if (name := self._names.get(media_id)) is None:
            raise refusal("400017", "couldn't find a matching video_media_id")
        return self._stage.media.path(self._provider, name)

    async def take(self, request: Request) -> tuple[int, str]:
        """Keep the file that is sent or whose address is; its id and its address. Raises a refusal."""
        try:
            parts = await read_parts(request, UPLOAD_LIMIT_BYTES)
        except UnreadableBody as error:
            raise refusal("400013", str(error)) from error
        name = f"{uuid.uuid4()}.mp4"
        target = self._stage.media.path(self._provider, name)
        try:
            await self._receive(parts, target)
            await _check_limits(target)
        except (OutboundError, UnusableVideo) as error:
            target.unlink(missing_ok=True)
            raise refusal("400017", f"not a video resource: {error}") from error
        except Refusal:
            target.unlink(missing_ok=True)
            raise
        media_id = random.randrange(10**14, 10**15)
        self._names[media_id] = name
        return media_id, self._stage.media.url(self._provider, name)

    async def _receive(self, parts: dict[str, bytes], target: Path) -> None:
        if ("file" in parts) == ("file_url" in parts):
            raise refusal("400017", "exactly one of file and file_url is needed")
        if "file" in parts:
            await anyio.Path(target).write_bytes(parts["file"])
            return
        url = parts["file_url"].decode(errors="replace")
        await self._stage.outbound.fetch(url, target, limit_bytes=LARGEST_BYTES, timeout_seconds=FETCH_TIMEOUT_SECONDS)


async def _check_limits(path: Path) -> None:
    if (await anyio.Path(path).stat()).st_size > LARGEST_BYTES:
        raise refusal("400017", "the file is larger than 50 MB")
    # The real one takes webm as well; what is extended here has to be MP4 or QuickTime.
    clip = await to_thread.run_sync(measure, path)
    if clip.seconds > LONGEST_SECONDS:
        raise refusal("400017", "the video is longer than 30 seconds")
    if max(clip.width, clip.height) > LARGEST_SIDE_PIXELS:
        raise refusal("400017", "the video is larger than 1920 pixels")
