"""What the first bytes and boxes of a video file say of it: its container, its length, its size in pixels.

Nothing is decoded: ISO/IEC 14496-12's boxes are stepped over, and only two small ones are read. What cannot be made
out is None, never an error: it is the provider's to judge.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MOST_BOXES = 1000
_STARTS = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})
_EBML = b"\x1aE\xdf\xa3"
_QUICKTIME = b"qt  "
_MVHD_BYTES = 32
_TKHD_BYTES = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoHeader:
    """``container`` is mp4, mov or webm (which Matroska begins like), None for anything else."""

    container: str | None
    seconds: float | None = None
    longest_side_pixels: int | None = None


def read_header(file: BinaryIO, *, start: int, end: int) -> VideoHeader:
    """What can be told of the video that stands from ``start`` to ``end`` in ``file``; moves the file's position."""
    head = _at(file, start, 12)
    if head.startswith(_EBML):
        return VideoHeader(container="webm")
    if head[4:8] not in _STARTS:
        return VideoHeader(container=None)
    container = "mov" if head[4:8] != b"ftyp" or head[8:12] == _QUICKTIME else "mp4"
    seconds: float | None = None
    sides: list[int] = []
    for kind, inner, after in _within(file, start, end, b"moov"):
        if kind == b"mvhd":
            seconds = _seconds(_at(file, inner, min(after - inner, _MVHD_BYTES)))
        elif kind == b"trak":
            tracks = [box for box in _boxes(file, inner, after) if box[0] == b"tkhd"]
            sides += [
                side for _, begin, to in tracks for side in _sides(_at(file, begin, min(to - begin, _TKHD_BYTES)))
            ]
    return VideoHeader(container=container, seconds=seconds, longest_side_pixels=max(sides, default=0) or None)


def _within(file: BinaryIO, start: int, end: int, wanted: bytes) -> Iterator[tuple[bytes, int, int]]:
    for kind, inner, after in _boxes(file, start, end):
        if kind == wanted:
            yield from _boxes(file, inner, after)
            return


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Each box's kind, and where its content begins and ends; stops at the first that cannot be right."""
    for _ in range(_MOST_BOXES):
        head = _at(file, start, min(16, max(end - start, 0)))
        if len(head) < 8:
            return
        size, inner = int.from_bytes(head[:4]), start + 8
        if size == 1 and len(head) == 16:
            size, inner = int.from_bytes(head[8:16]), start + 16
        after = end if size == 0 else start + size
        if not inner <= after <= end:
            return
        yield head[4:8], inner, after
        start = after


def _at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _seconds(mvhd: bytes) -> float | None:
    """The length; None where it is not known beforehand, as in fragmented files."""
    try:
        long = mvhd[0] == 1
        scale, duration = struct.unpack_from(">IQ" if long else ">II", mvhd, 20 if long else 12)
    except (struct.error, IndexError):
        return None
    is_unknown = duration in (0, 2**32 - 1, 2**64 - 1)
    return None if is_unknown or not scale else duration / scale


def _sides(tkhd: bytes) -> tuple[int, ...]:
    """Width and height, each a 16.16 number; nought for a track without a picture."""
    try:
        width, height = struct.unpack_from(">II", tkhd, 88 if tkhd[0] == 1 else 76)
    except (struct.error, IndexError):
        return ()
    return width >> 16, height >> 16
