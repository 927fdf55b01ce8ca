"""Reading an MP4's boxes before any decoder does: a small file may claim more samples than memory holds."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from replyhook_receiver.errors import NotAVideo

MAX_SAMPLES = 5_000_000
"""More than ten hours of 60 frames a second, or thirty of AAC; a decoder keeps some 30 bytes for each."""

_MAX_BOXES = 100_000
_MAX_DEPTH = 8
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts"})
_COUNT_AT = {b"stsz": 8, b"stz2": 8, b"trun": 4}
"""Where, after the box's head, the number of samples stands (ISO/IEC 14496-12, 8.7.3 and 8.8.8)."""


def check_sample_counts(path: Path) -> None:
    """Raise ``NotAVideo`` for a file that claims more samples than any video of ours has."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        samples = 0
        for number, (kind, start, end) in enumerate(_boxes(file, 0, size, 0)):
            if number > _MAX_BOXES:
                raise NotAVideo("the video has more parts than it can need")
            if kind in _COUNT_AT and end - start >= _COUNT_AT[kind] + 4:
                file.seek(start + _COUNT_AT[kind])
                samples += int(struct.unpack(">I", file.read(4))[0])
            if samples > MAX_SAMPLES:
                raise NotAVideo(f"the video claims more than {MAX_SAMPLES} samples")


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
