"""A video that is at hand as a file or bytes: what it was like when it was handed over, and reading it, bounded.

What is sent is what was handed over, or nothing: a file that has changed meanwhile is an error before its last byte.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from replyhook.errors import InvalidRequest
from replyhook.mp4_header import VideoHeader, read_header

OnUpload = Callable[[int, int | None], None]
"""Told of an upload: the video's bytes sent so far, and how many there are, where that is known."""

CHUNK_BYTES = 192 * 1024
"""Read and sent at a time; a multiple of three, so that base64 of the pieces is base64 of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMark:
    """What a file was like when it was handed over. ``modified_ns`` is None where the file is only in memory."""

    start: int
    size_bytes: int
    modified_ns: int | None

    @classmethod
    def of_path(cls, path: str) -> "FileMark":
        """The whole file called ``path``. Raises ``OSError``, ``ValueError``."""
        stat = os.stat(path)
        return cls(start=0, size_bytes=stat.st_size, modified_ns=stat.st_mtime_ns)

    @classmethod
    def of_opened(cls, file: BinaryIO) -> "FileMark":
        """An open file from where it stands to its end. Raises ``OSError``, ``ValueError``."""
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        return cls(start=start, size_bytes=max(size, 0), modified_ns=_modified_ns(file))


def check_opened(file: Any) -> None:
    """Raise ``InvalidRequest`` unless ``file`` is open, binary, and can be read again from the same place."""
    if isinstance(file, io.TextIOBase):
        raise InvalidRequest("video", type(file).__name__, "open the file in binary mode: open(path, 'rb')")
    try:
        can_seek = bool(file.readable() and file.seekable())
    except (AttributeError, TypeError, ValueError):  # not a file, or a closed one
        can_seek = False
    if not can_seek:
        allowed = "an open binary file that can be read and rewound; save what comes through a pipe to a file first"
        raise InvalidRequest("video", type(file).__name__, allowed)


class VideoReader:
    """A video's bytes, few at a time; as much of a file as a multipart form needs.

    Never more than were there when it was handed over. Raises ``InvalidRequest`` when the file is no longer the same,
    before the last byte is given: whoever is sent this never has a whole body then. ``on_upload`` is told of what the
    reader's user is done with, which is when it asks for more.
    """

    def __init__(self, file: BinaryIO, mark: FileMark, *, name: str, on_upload: OnUpload | None = None) -> None:
        self._file = file
        self._mark = mark
        self._name = name
        self._on_upload = on_upload
        self._position = 0
        self._told = -1
        self.size_bytes = mark.size_bytes

    def read(self, count: int = CHUNK_BYTES) -> bytes:
        """The next ``count`` bytes, fewer only at the end."""
        self._tell()
        left = self.size_bytes - self._position
        wanted = min(count if count >= 0 else CHUNK_BYTES, left, CHUNK_BYTES)
        if not wanted:
            return b""
        try:
            self._file.seek(self._mark.start + self._position)
            chunk = self._read_fully(wanted)
            is_same = len(chunk) == wanted and (wanted < left or self._is_unchanged())
        except (OSError, ValueError) as error:
            raise InvalidRequest("video", self._name, f"it could not be read: {type(error).__name__}") from error
        if not is_same:
            raise _changed(self._name)
        self._position += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file's: what a form measures its length with."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size_bytes}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """As a file's."""
        return self._position

    def chunks(self) -> Iterator[bytes]:
        """All of it."""
        while chunk := self.read():
            yield chunk

    def header(self) -> VideoHeader:
        """What its header says of it. Raises ``OSError``."""
        return read_header(self._file, start=self._mark.start, end=self._mark.start + self.size_bytes)

    def _read_fully(self, wanted: int) -> bytes:
        chunk = self._file.read(wanted)
        while len(chunk) < wanted and (more := self._file.read(wanted - len(chunk))):
            chunk += more
        return chunk

    def _tell(self) -> None:
        if self._on_upload is not None and self._position > self._told:
            self._told = self._position
            self._on_upload(self._position, self.size_bytes)

    def _is_unchanged(self) -> bool:
        end = self._file.seek(0, os.SEEK_END)
        return end == self._mark.start + self.size_bytes and _modified_ns(self._file) == self._mark.modified_ns


@contextmanager
def opened_video(
    *, path: str, file: BinaryIO | None, data: bytes, mark: FileMark | None, on_upload: OnUpload | None = None
) -> Iterator[VideoReader]:
    """A reader of ``data``, of ``file``, which stays open, or of the file called ``path``.

    Raises ``InvalidRequest`` where it cannot be read.
    """
    if data:
        held = FileMark(start=0, size_bytes=len(data), modified_ns=None)
        yield VideoReader(io.BytesIO(data), held, name="bytes", on_upload=on_upload)
        return
    name = path or type(file).__name__
    with ExitStack() as stack:
        try:
            if file is None:
                file = stack.enter_context(open(path, "rb"))
            elif mark is not None:
                file.seek(mark.start)
            now = FileMark.of_opened(file)
        except (OSError, ValueError) as error:
            raise InvalidRequest("video", name, f"it could not be read: {type(error).__name__}") from error
        if mark is not None and now != mark:
            raise _changed(name)
        yield VideoReader(file, now, name=name, on_upload=on_upload)


def _changed(name: str) -> InvalidRequest:
    return InvalidRequest("video", name, "the file changed after it was handed over; nothing was submitted")


def _modified_ns(file: BinaryIO) -> int | None:
    try:
        return os.fstat(file.fileno()).st_mtime_ns
    except (OSError, AttributeError, ValueError):
        return None
