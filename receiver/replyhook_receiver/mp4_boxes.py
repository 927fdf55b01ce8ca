"""Reading an MP4's boxes before any decoder does: a small file may claim or unpack to more than memory holds."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from replyhook_receiver.errors import NotAVideo

MAX_SAMPLES = 5_000_000
"""More than ten hours of 60 frames a second, or thirty of AAC; a decoder keeps some 30 bytes for each."""

_MAX_BOXES = 100_000
_MAX_DEPTH = 8
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts"}) | {
    b"dinf",
    b"udta",
    b"tref",
    b"hoov",
}
"""The last four are none, but a decoder looks into them all the same."""
_COUNT_AT = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Where, after the box's head, the number of samples stands (ISO/IEC 14496-12, 8.7.3 and 8.8.8)."""


_VIDEO_CODECS = frozenset(
    b"avc1 avc2 avc3 avc4 hvc1 hvc2 hev1 hev2 dvh1 dvhe dva1 dvav dav1 av01 vp08 vp09 vvc1 vvi1 evc1".split()
    + b"mp4v s263 h263 H263 apch apcn apcs apco ap4h ap4x encv".split()
)
_PICTURES = frozenset(
    {*b"jpeg mjpa mjpb mjp2 AVDJ MJPG tiff 8BPS cvid qdrw dmb1 WRLE kpcd".split()}
    | {b"png ", b"gif ", b"tga ", b"raw ", b"smc ", b"rle "}
)


def check_boxes(path: Path) -> None:
    """Raise ``NotAVideo`` for a file that claims more samples, or other things, than any video of ours has."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        samples = 0
        handler = b""
        for number, (kind, start, end) in enumerate(_boxes(file, 0, size, 0)):
            if number > _MAX_BOXES:
                raise NotAVideo("the video has more parts than it can need")
            if kind == b"cmov":
                raise NotAVideo("the video's table of contents is packed, which no video of today's is")
            if kind in _COUNT_AT and end - start >= _COUNT_AT[kind] + 4:
                samples += _number_at(file, start + _COUNT_AT[kind])
            if samples > MAX_SAMPLES:
                raise NotAVideo(f"the video claims more than {MAX_SAMPLES} samples")
            if kind == b"trak":
                handler = b""
            elif kind == b"hdlr" and not handler:
                handler = _bytes_at(file, start + 8, end)
            elif kind == b"stsd":
                _check_codecs(file, start, end, handler)


def _check_codecs(file: BinaryIO, start: int, end: int, handler: bytes) -> None:
    """Pictures are decoded as soon as a file is opened, each of which may be of any size."""
    start += 8
    while start + 8 <= end:
        length, codec = _number_at(file, start), _bytes_at(file, start + 4, end)
        if codec in _PICTURES or (handler == b"vide" and codec not in _VIDEO_CODECS):
            raise NotAVideo(f"the video is in a coding that is not taken ({codec.decode('ascii', 'replace')!a})")
        if length < 8:
            return
        start += length


def _number_at(file: BinaryIO, place: int) -> int:
    file.seek(place)
    return int.from_bytes(file.read(4))


def _bytes_at(file: BinaryIO, place: int, end: int) -> bytes:
    file.seek(place)
    return file.read(max(min(4, end - place), 0))


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """Every box between two places, and those inside: its kind, and where its content begins and ends."""
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if length == 1 and content + 8 <= end:
            length = struct.unpack(">Q", file.read(8))[0]
            content += 8
        stop = end if length == 0 else min(start + length, end)
        if stop < content:
            return  # broken: the decoder will say so
        yield kind, content, stop
        if kind in _CONTAINERS and depth < _MAX_DEPTH:
            yield from _boxes(file, content, stop, depth + 1)
        start = stop
