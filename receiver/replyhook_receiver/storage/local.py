"""Videos in a folder on this machine."""

import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from anyio import to_thread

from replyhook_receiver.errors import LowDisk, PartInUse
from replyhook_receiver.storage.base import REJECTED_SUFFIX, Incoming, Unchecked, Whole, checked_name, poster_name
from replyhook_receiver.storage.files import KeptFile, read_file
from replyhook_receiver.storage.part import NOTE_SUFFIX, PART_SUFFIX, Part, disk_errors, make_durable
from replyhook_receiver.storage.settled import Settled

_ABANDONED_AFTER_SECONDS = 24 * 3600


class LocalStorage:
    """A folder on this machine. Names are ours (``video_name``); one that would leave the folder is refused."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @asynccontextmanager
    async def incoming(self, name: str, *, resume: bool = False) -> AsyncIterator[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains.

        With ``resume`` it goes on with what an earlier try has left, in whatever process that was, and leaves what it
        has come to, with its note, to the next.
        """
        part = await to_thread.run_sync(lambda: Part(self._path(name), resume=resume))
        try:
            yield part
        finally:
            await part.leave()

    @asynccontextmanager
    async def unchecked(self, name: str) -> AsyncIterator[Unchecked | None]:
        """A video that was settled and neither kept nor rejected, or None."""
        found = await to_thread.run_sync(Settled.found, self._path(name))
        try:
            yield found
        finally:
            if found is not None:
                found.leave()

    async def put(self, name: str, content: bytes) -> None:
        """Store something small beside the videos, whole or not at all."""
        await to_thread.run_sync(_put, self._path(name), content)

    async def forget(self, name: str) -> None:
        """Remove what has come so far of a video that nobody will go on with."""
        path = self._path(name)
        left = (_part_of(path), path.with_name(f".{path.name}{NOTE_SUFFIX}"), _part_of(self._path(poster_name(name))))
        if not any(part.exists() for part in left):
            return
        try:
            async with self.incoming(name, resume=True) as part:
                await part.begin(b"")
                if self.local_path(name) is None:  # killed between the two
                    self._path(poster_name(name)).unlink(missing_ok=True)
                    _part_of(self._path(poster_name(name))).unlink(missing_ok=True)
        except PartInUse:
            return

    async def remove(self, name: str) -> None:
        """Remove a stored video and its poster; nothing where they are not there."""
        await to_thread.run_sync(_remove, self._path(name), self._path(poster_name(name)))

    def unfinished(self) -> list[str]:
        """The names of the videos that something was left of, to be gone on with."""
        found = set()
        for suffix in (NOTE_SUFFIX, f".mp4{PART_SUFFIX}"):
            for path in self._root.rglob(f".*{suffix}"):
                own = path.name[1:].removesuffix(NOTE_SUFFIX).removesuffix(PART_SUFFIX)
                found.add(path.with_name(own).relative_to(self._root).as_posix())
        return sorted(found)

    def sweep(self) -> None:
        """Remove what killed processes left of unfinished videos; what is younger than a day may be somebody's."""
        oldest = time.time() - _ABANDONED_AFTER_SECONDS
        for part in self._root.rglob(f".*{PART_SUFFIX}"):
            with contextlib.suppress(OSError):
                if part.stat().st_mtime < oldest:
                    part.unlink()

    def so_far(self, name: str) -> int | None:
        """How many bytes of a video that is on its way are here; None where there are none."""
        try:
            return _part_of(self._path(name)).stat().st_size
        except FileNotFoundError:
            return None

    def remove_rejected(self, *, before: datetime) -> int:
        """Remove what was put aside before then; how many."""
        removed = 0
        with disk_errors():
            for path in self._root.rglob(f"*.mp4{REJECTED_SUFFIX}"):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def free_bytes(self) -> int:
        """How much room there is where videos come in. Raises ``LowDisk`` where that cannot be told: it passes, too."""
        there = self._root
        try:
            while not there.exists():
                there = there.parent
            return shutil.disk_usage(there).free
        except OSError as error:  # a file server that is away
            raise LowDisk(f"the folder of videos cannot be looked at ({error.strerror})") from error

    def local_path(self, name: str) -> Path | None:
        """The file of a stored video, or None where it is not there."""
        path = self._path(name)
        return path if path.is_file() else None

    async def taken_in(self, name: str) -> Whole | None:
        """A video that is kept, though nobody may have noted it."""
        path = await to_thread.run_sync(self.local_path, name)
        return None if path is None else await to_thread.run_sync(KeptFile, path)

    def has_kept(self) -> bool:
        """Whether a whole video is here."""
        return any(not path.name.startswith(".") for path in self._root.rglob("*.mp4"))

    def has_waiting(self) -> bool:
        """Never: what is kept here stays here."""
        return False

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


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{PART_SUFFIX}")


def _remove(*paths: Path) -> None:
    with disk_errors():
        for path in paths:
            path.unlink(missing_ok=True)


def _put(target: Path, content: bytes) -> None:
    part = _part_of(target)  # always the same: what a killed process left is written over
    with disk_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                make_durable(file, part, target)
        finally:
            part.unlink(missing_ok=True)
