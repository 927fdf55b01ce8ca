"""A file that is still coming in: written by one at a time, and able to outlive its process.

Beside a part that may be gone on with lies its note. A part is vouched for only within one run of the machine: a file
that grew just before the power failed may have its length and not its bytes.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from replyhook_receiver.errors import LowDisk, PartInUse
from replyhook_receiver.storage.base import REJECTED_SUFFIX

PART_SUFFIX = ".part"
NOTE_SUFFIX = f".note{PART_SUFFIX}"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_AT_ONCE_BYTES = 1024 * 1024
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Part:
    """A video on its way into ``target``. What has come is written a megabyte at a time, while the next one comes."""

    def __init__(self, target: Path, *, resume: bool) -> None:
        self._target = target
        own = target.name if resume else f"{target.name}.{os.urandom(4).hex()}"
        self.path = target.with_name(f".{own}{PART_SUFFIX}")
        self._note_path = target.with_name(f".{own}{NOTE_SUFFIX}")
        self._hash = hashlib.sha256()
        self._coming: list[bytes] = []
        self._coming_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._is_broken = False
        self._is_kept = False
        self._is_settled = False
        self.note = b""
        self.size = 0
        with disk_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_alone(self.path)
            try:
                if resume:
                    self._take_up()
            except BaseException:
                self._file.close()
                raise

    async def begin(self, note: bytes) -> None:
        """Throw away what is there and begin anew."""
        await self._written()
        self._coming, self._coming_bytes = [], 0
        await to_thread.run_sync(self._empty, note)

    async def write(self, chunk: bytes) -> None:
        """Append bytes; what went wrong with those before is raised now."""
        self._coming.append(chunk)
        self._coming_bytes += len(chunk)
        self.size += len(chunk)
        if self._coming_bytes >= _AT_ONCE_BYTES:
            await self._written()
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._append, self._take())

    async def flush(self) -> None:
        """Let what was written be seen at ``path``."""
        await self._written()
        await to_thread.run_sync(self._flush, self._take())

    async def settle(self) -> None:
        """Let it outlive whatever happens, though nobody has looked into it."""
        await self._written()
        await to_thread.run_sync(self._settle, self._take())

    async def reject(self) -> None:
        """Put it aside."""
        await to_thread.run_sync(self.path.replace, rejected_path(self._target))
        self._is_kept = True

    async def keep(self) -> str:
        """Make it durable under its name; its SHA-256 in hexadecimal."""
        await self._written()
        await to_thread.run_sync(self._rename, self._take())
        self._is_kept = True
        return self._hash.hexdigest()

    async def leave(self) -> None:
        """Let go of it: what is kept or noted remains, the rest does not."""
        try:
            if self._writing is not None:
                await asyncio.wait([self._writing])
                self._is_broken |= self._writing.exception() is not None
        finally:
            self._let_go()  # here and not in a thread: it must happen, also when all is being stopped

    def _take(self) -> bytes:
        coming, self._coming, self._coming_bytes = self._coming, [], 0
        return b"".join(coming)

    async def _written(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                self._writing = writing
                raise

    def _take_up(self) -> None:
        """Go on with what is there, if this machine has been up ever since it was written."""
        try:
            boot, _, note = self._note_path.read_bytes().partition(b"\n")
        except OSError:
            boot, note = b"", b""
        if not note or boot != _boot():
            self._empty(b"")
            return
        self._file.seek(0)
        while chunk := self._file.read(_AT_ONCE_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)
        self.note = note

    def _empty(self, note: bytes) -> None:
        with disk_errors():
            self._file.seek(0)
            self._file.truncate()
            self._hash, self.size, self.note = hashlib.sha256(), 0, note
            if note:
                self._note_path.write_bytes(_boot() + b"\n" + note)
            else:
                self._note_path.unlink(missing_ok=True)

    def _append(self, chunk: bytes) -> None:
        try:
            with disk_errors():
                self._file.write(chunk)
        except BaseException:
            self._is_broken = True  # who knows how much of it is there
            raise
        self._hash.update(chunk)

    def _flush(self, chunk: bytes) -> None:
        self._append(chunk)
        with disk_errors():
            self._file.flush()

    def _settle(self, chunk: bytes) -> None:
        self._append(chunk)
        settled = unchecked_path(self._target)
        with disk_errors():
            make_durable(self._file, self.path, settled)
            self.path, self._is_settled = settled, True
            self._note_path.unlink(missing_ok=True)

    def _rename(self, chunk: bytes) -> None:
        self._append(chunk)
        with disk_errors():
            make_durable(self._file, self.path, self._target)
            self._note_path.unlink(missing_ok=True)

    def _let_go(self) -> None:
        if (
            not (self._is_kept or self._is_settled) and not self._leaves_something()
        ):  # while it is locked, so that it is nobody else's
            self.path.unlink(missing_ok=True)
            self._note_path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk may say so only now
            self._file.close()

    def _leaves_something(self) -> bool:
        if not self.note or not self.size or self._is_broken:
            return False
        try:
            self._flush(self._take())
        except (OSError, LowDisk):
            return False
        return True


def make_durable(file: BinaryIO, path: Path, target: Path) -> None:
    """Let ``file`` at ``path`` be at ``target``, whole, whatever happens next."""
    file.flush()
    os.fsync(file.fileno())
    path.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """A disk without room is no fault of ours and none of the video's."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise LowDisk("there is no room left where videos are stored") from error
        raise


def unchecked_path(target: Path) -> Path:
    """Where a whole video waits to be looked into; hidden, so that it is nobody's video yet."""
    return target.with_name(f".{target.name}.unchecked")


def rejected_path(target: Path) -> Path:
    """Where what came in its place is put aside."""
    return target.with_name(f"{target.name}{REJECTED_SUFFIX}")


def open_alone(path: Path) -> BinaryIO:
    """The file, made if need be, and locked: by the kernel, which lets go of it when the process is killed."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
        except BlockingIOError as error:
            file.close()
            raise PartInUse("another worker is fetching this video") from error
        except BaseException:
            file.close()
            raise
        file.close()  # it was kept or removed between our opening and our locking it


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        there, ours = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _boot() -> bytes:
    """What differs from one start of the machine to the next, where the system tells."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b"-"
