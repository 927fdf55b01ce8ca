"""A video on its way from the folder on this machine into an object store."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from anyio import to_thread

from replyhook_receiver.storage.base import Incoming, Unchecked, Whole
from replyhook_receiver.storage.files import sha256_of


class UploadStopped(Exception):
    """An upload is to end: raised where its bytes come from, which makes obstore abort it (LIBRARIES: tried)."""


class Uploads(Protocol):
    """Who uploads what is in the folder."""

    async def upload(self, name: str, sha256: str) -> None:
        """Bring a whole video there."""
        ...


class Upload:
    """A file on its way into a bucket part by part, which can be stopped at each."""

    def __init__(self, path: Path, *, part_bytes: int) -> None:
        self.path = path
        self.part_bytes = part_bytes
        self.is_begun = False
        self.is_stopped = False

    async def parts(self) -> AsyncIterator[bytes]:
        """Its bytes, a part at a time."""
        self.is_begun = True
        with await to_thread.run_sync(self.path.open, "rb") as file:
            while chunk := await to_thread.run_sync(file.read, self.part_bytes):
                if self.is_stopped:
                    raise UploadStopped
                yield chunk


class Waiting:
    """A whole video in the folder whose upload is still to be done."""

    def __init__(self, whole: Whole, storage: Uploads, name: str) -> None:
        self.path = whole.path
        self.size = whole.size
        self._storage = storage
        self._name = name

    async def keep(self) -> str:
        sha256 = await to_thread.run_sync(sha256_of, self.path)
        await self._storage.upload(self._name, sha256)
        return sha256


class ObjectUnchecked:
    """A whole video in the folder that nobody has looked into, on its way into the object store."""

    def __init__(self, whole: Unchecked, storage: Uploads, name: str) -> None:
        self._whole = whole
        self._storage = storage
        self._name = name

    @property
    def path(self) -> Path:
        return self._whole.path

    @property
    def size(self) -> int:
        return self._whole.size

    async def reject(self) -> None:
        await self._whole.reject()

    async def keep(self) -> str:
        sha256 = await self._whole.keep()  # whole and durable here first
        await self._storage.upload(self._name, sha256)
        return sha256


class ObjectIncoming(ObjectUnchecked):
    """A video on its way into the folder, and from there into the object store."""

    def __init__(self, part: Incoming, storage: Uploads, name: str) -> None:
        super().__init__(part, storage, name)
        self._part = part

    @property
    def note(self) -> bytes:
        return self._part.note

    async def begin(self, note: bytes) -> None:
        await self._part.begin(note)

    async def write(self, chunk: bytes) -> None:
        await self._part.write(chunk)

    async def flush(self) -> None:
        await self._part.flush()

    async def settle(self) -> None:
        await self._part.settle()
