"""Videos in a folder on this machine."""

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from replyhook_receiver.storage.base import Incoming, Whole, checked_name
from replyhook_receiver.storage.files import KeptFile, read_file

_ABANDONED_AFTER_SECONDS = 24 * 3600


class LocalStorage:
    """A folder on this machine. Names are ours (``video_name``); one that would leave the folder is refused."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @asynccontextmanager
    async def incoming(self, name: str) -> AsyncIterator[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains."""
        part = await to_thread.run_sync(_LocalIncoming, self._path(name))
        try:
            yield part
        finally:
            await to_thread.run_sync(part.discard)

    def sweep(self) -> None:
        """Remove what killed processes left of unfinished videos; what is younger than a day may be somebody's."""
        oldest = time.time() - _ABANDONED_AFTER_SECONDS
        for part in self._root.rglob(".*.part"):
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < oldest:
                    part.unlink()

    def local_path(self, name: str) -> Path | None:
        """The file of a stored video, or None where it is not there."""
        path = self._path(name)
        return path if path.is_file() else None

    async def taken_in(self, name: str) -> Whole | None:
        """A video that is kept, though nobody may have noted it."""
        path = await to_thread.run_sync(self.local_path, name)
        return None if path is None else await to_thread.run_sync(KeptFile, path)

    async def size(self, name: str) -> int | None:
        """The bytes of a stored video, or None where there is none."""
        path = await to_thread.run_sync(self.local_path, name)
        return None if path is None else (await to_thread.run_sync(path.stat)).st_size

    def read(self, name: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """A stored video's bytes from ``start`` up to ``stop``."""
        return read_file(self._path(name), start, stop)

    async def link(self, name: str, *, seconds: int) -> str | None:  # noqa: ARG002 - the protocol's parameters
        """None: who wants a video from this machine has to ask the receiver."""
        checked_name(name)
        return None

    def _path(self, name: str) -> Path:
        path = (self._root / checked_name(name)).resolve()
        if not path.is_relative_to(self._root) or path == self._root:
            raise ValueError("a video's name must stay inside the storage folder")
        return path


class _LocalIncoming:
    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("xb")
        self._hash = hashlib.sha256()
        self.size = 0

    async def write(self, chunk: bytes) -> None:
        await to_thread.run_sync(self._append, chunk)

    async def flush(self) -> None:
        await to_thread.run_sync(self._file.flush)

    async def keep(self) -> str:
        await to_thread.run_sync(self._rename)
        return self._hash.hexdigest()

    def discard(self) -> None:
        try:
            self._file.close()  # a full disk may say so only now
        except OSError:
            pass
        finally:
            self.path.unlink(missing_ok=True)

    def _append(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def _rename(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.path.replace(self._target)
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
