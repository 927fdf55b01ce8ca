"""Videos in an object store (S3 and what speaks it, Google Cloud Storage, Azure), by way of a folder on this machine.

The only door to obstore. A video comes into the folder, whole and checked, and is uploaded when it is kept; the folder
has it until the object store does, so that neither a failed upload nor a killed process costs a paid video.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from anyio import to_thread

from replyhook.errors import ConfigurationError
from replyhook_receiver.errors import StorageTrouble
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.places import Bucket
from replyhook_receiver.storage.base import Incoming, Unchecked, Whole, checked_name, poster_name
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.storage.uploading import ObjectIncoming, ObjectUnchecked, Upload, Waiting

try:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store
except ImportError:  # without [cloud] videos stay on this machine
    HAS_OBSTORE = False
else:
    HAS_OBSTORE = True
    _KINDS: "dict[str, Callable[..., S3Store | GCSStore | AzureStore]]" = {
        "s3": S3Store,
        "gs": GCSStore,
        "az": AzureStore,
    }

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_log = logging.getLogger(__name__)

_PART_BYTES = 8 * 1024 * 1024
_MOST_PARTS = 9_000  # S3 takes 10,000
_PARTS_AT_A_TIME = 2
_WINDOW_BYTES = 4 * 1024 * 1024
_STOP_SECONDS = 5.0
_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")


class ObjectStorage:
    """A bucket or container, and the folder videos come into on their way there."""

    def __init__(self, bucket: Bucket, spool: LocalStorage) -> None:
        self._objects = _opened(bucket)
        self._spool = spool
        self._gives_links = True

    def __repr__(self) -> str:
        return "<ObjectStorage>"  # what obstore prints of a store is not ours to vouch for

    @asynccontextmanager
    async def incoming(self, name: str, *, resume: bool = False) -> AsyncIterator[Incoming]:
        """Take in a video called ``name``, as the folder does; ``keep`` uploads it."""
        async with self._spool.incoming(name, resume=resume) as part:
            yield ObjectIncoming(part, self, name)

    @asynccontextmanager
    async def unchecked(self, name: str) -> AsyncIterator[Unchecked | None]:
        """A video that was settled in the folder; ``keep`` uploads it."""
        async with self._spool.unchecked(name) as found:
            yield None if found is None else ObjectUnchecked(found, self, name)

    async def put(self, name: str, content: bytes) -> None:
        """Lay something small beside a video: it is uploaded when the video is."""
        await self._spool.put(name, content)

    async def forget(self, name: str) -> None:
        """Remove what has come so far of a video that nobody will go on with."""
        await self._spool.forget(name)

    async def remove(self, name: str) -> None:
        """Remove a stored video and its poster, also where they wait here; nothing where they are not there."""
        await self._spool.remove(name)
        for each in (name, poster_name(name)):
            with _typed("remove a video"):
                try:
                    await obstore.delete_async(self._objects, each)
                except FileNotFoundError:
                    continue

    def unfinished(self) -> list[str]:
        """The names of the videos of which something has come, to be gone on with."""
        return self._spool.unfinished()

    def so_far(self, name: str) -> int | None:
        """How many bytes of a video that is on its way are in the folder."""
        return self._spool.so_far(name)

    def free_bytes(self) -> int:
        """How much room there is in the folder. Raises ``LowDisk`` where that cannot be told."""
        return self._spool.free_bytes()

    async def taken_in(self, name: str) -> Whole | None:
        """A video that waits in the folder for its upload, or that was uploaded, though nobody may have noted it."""
        waiting = await self._spool.taken_in(name)
        if waiting is None:
            size = None
            with contextlib.suppress(StorageTrouble):  # without the right to list, a bucket says 403 instead of 404
                size = await self.size(name)
            if size is None:
                return None
            async with self._spool.incoming(name) as part:
                async for chunk in self.read(name, 0, size):
                    await part.write(chunk)
                await part.keep()
            waiting = await self._spool.taken_in(name)
        return None if waiting is None else Waiting(waiting, self, name)

    def has_waiting(self) -> bool:
        """Whether whole videos wait for their upload."""
        return self._spool.has_kept()

    async def upload(self, name: str, sha256: str) -> None:
        """Bring a whole video there, its poster first, and remove them here. Raises ``StorageTrouble``: they stay."""
        poster = await self._spool.taken_in(poster_name(name))
        if poster is not None:
            await self._upload(poster_name(name), poster, await poster.keep())
        video = await self._spool.taken_in(name)
        if video is None:
            raise StorageTrouble("a video that waited for its upload is gone")
        await self._upload(name, video, sha256)

    async def _upload(self, name: str, whole: Whole, sha256: str) -> None:
        await self._put(name, whole.path, whole.size, sha256)
        if await self._shown(name) not in ((whole.size, sha256), (whole.size, None)):
            with _typed("remove what did not arrive whole"):
                await obstore.delete_async(self._objects, name)
            raise StorageTrouble("the object store does not show the video as it was sent")
        await to_thread.run_sync(lambda: whole.path.unlink(missing_ok=True))

    async def size(self, name: str) -> int | None:
        """The bytes of a stored video, or None where there is none."""
        checked_name(name)
        with _typed("be asked for a video"):
            try:
                found = await obstore.head_async(self._objects, name)
            except FileNotFoundError:
                return None
        return found["size"]

    async def read(self, name: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """A stored video's bytes from ``start`` up to ``stop``: a request for each few megabytes."""
        checked_name(name)
        for begin in range(start, stop, _WINDOW_BYTES):
            end = min(begin + _WINDOW_BYTES, stop)
            with _typed("be read"):
                window = await obstore.get_range_async(self._objects, name, start=begin, end=end)
            if len(window) != end - begin:
                raise StorageTrouble("a stored video is shorter than it was")
            yield bytes(window)

    async def link(self, name: str, *, seconds: int) -> str | None:
        """A presigned link; None where the credentials in use cannot sign one (then it is passed through)."""
        checked_name(name)
        try:
            with _typed("sign a link"):
                link = await obstore.sign_async(self._objects, "GET", name, timedelta(seconds=seconds))
        except StorageTrouble as error:
            if self._gives_links:
                _log.warning("videos are passed through the receiver: %s", error)
            self._gives_links = False
            return None
        self._gives_links = True
        return link

    def remove_rejected(self, *, before: datetime) -> int:
        """Remove what was put aside here before then; how many."""
        return self._spool.remove_rejected(before=before)

    def sweep(self) -> None:
        """Remove what killed processes left of unfinished videos; whole ones wait to be uploaded."""
        self._spool.sweep()

    async def _shown(self, name: str) -> tuple[int, str | None] | None:
        """An object's size and, where the store keeps it, the SHA-256 it was sent with."""
        with _typed("be asked for a video"):
            try:
                found = await obstore.get_async(self._objects, name, options={"head": True})
            except FileNotFoundError:
                return None
        return found.meta["size"], found.attributes.get("sha256")

    async def _put(self, name: str, path: Path, size: int, sha256: str) -> None:
        upload = Upload(path, part_bytes=max(_PART_BYTES, -(-size // _MOST_PARTS)))
        sending = asyncio.create_task(self._send(name, upload, size, sha256))
        sending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody may be left to look
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            if upload.is_begun:  # a cancelled obstore call would leave the parts it has sent
                upload.is_stopped = True
                await asyncio.wait({sending}, timeout=_STOP_SECONDS)
            sending.cancel()
            raise

    async def _send(self, name: str, upload: Upload, size: int, sha256: str) -> None:
        file_name = PurePosixPath(name).name
        attributes: dict[str, str] = {
            "Content-Type": _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream"),
            "Content-Disposition": f'inline; filename="{file_name}"',
            "Cache-Control": "private, no-cache",
            "sha256": sha256,
        }
        with _typed("take the video"):
            if size <= upload.part_bytes:
                content = await to_thread.run_sync(upload.path.read_bytes)
                await obstore.put_async(self._objects, name, content, attributes=attributes, use_multipart=False)
            else:
                await obstore.put_async(
                    self._objects,
                    name,
                    upload.parts(),
                    attributes=attributes,
                    chunk_size=upload.part_bytes,
                    max_concurrency=_PARTS_AT_A_TIME,
                )


def _opened(bucket: Bucket) -> "S3Store | GCSStore | AzureStore":
    if not HAS_OBSTORE:
        raise ConfigurationError(
            f"videos in {bucket.scheme}:// need the extra that talks to object stores: {how_to_install('cloud')}"
        )
    client: ClientConfig = {"connect_timeout": "10s", "timeout": "120s"}
    if bucket.endpoint.startswith("http://"):
        client["allow_http"] = True
    retries: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(minutes=3)}
    endpoint = {("base_url" if bucket.scheme == "gs" else "endpoint"): bucket.endpoint} if bucket.endpoint else {}
    try:
        kind = _KINDS[bucket.scheme]
        return kind(bucket.name, prefix=bucket.prefix or None, client_options=client, retry_config=retries, **endpoint)
    except (BaseError, ValueError) as error:
        raise ConfigurationError(
            f"the object store cannot be set up ({_reason(error)}): check storage_url, storage_endpoint, and in the "
            f"environment {_CREDENTIALS[bucket.scheme]}"
        ) from None


_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY",
}


@contextmanager
def _typed(doing: str) -> Iterator[None]:
    """What goes wrong, as one error of ours without what obstore says: addresses, and answers that may hold more."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageTrouble(f"the object store could not {doing}: not found ({_reason(error)})") from None
    except (BaseError, OSError, ValueError) as error:
        raise StorageTrouble(f"the object store could not {doing} ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    words = str(error)
    found = [type(error).__name__.removesuffix("Error")]
    found += [f"HTTP {status}" for status in _STATUS.findall(words)[:1]]
    found += _CODE.findall(words)[:1]
    found += ["no connection"] * ("Connect" in words or "error sending request" in words)
    return ", ".join(found)
