"""What a small file may claim: read from its boxes, before a decoder believes it."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replyhook_receiver.errors import NotAVideo
from replyhook_receiver.mp4_boxes import MAX_SAMPLES, check_sample_counts
from replyhook_receiver.sandbox.video import make_clip


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def inside(*kinds: bytes, content: bytes) -> bytes:
    for kind in reversed(kinds):
        content = box(kind, content)
    return content


FTYP = box(b"ftyp", b"isom\0\0\0\0isom")
TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


@pytest.mark.parametrize(
    "claim",
    [
        inside(*TABLE, b"stsz", content=struct.pack(">III", 0, 1, 60_000_000)),
        inside(*TABLE, b"stz2", content=struct.pack(">III", 0, 4, 60_000_000)),
        inside(b"moof", b"traf", b"trun", content=struct.pack(">II", 0, 60_000_000)),
        b"".join(inside(*TABLE, b"stsz", content=struct.pack(">III", 0, 1, MAX_SAMPLES // 2 + 1)) for _ in range(2)),
    ],
    ids=["stsz", "stz2", "fragment", "two tracks"],
)
def test_a_few_bytes_that_claim_millions_of_samples_are_no_video(tmp_path: Path, claim: bytes) -> None:
    path = tmp_path / "bomb.mp4"
    path.write_bytes(FTYP + claim)
    with pytest.raises(NotAVideo, match="samples"):
        check_sample_counts(path)


def test_a_real_clip_passes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, seconds=1, audio=True)
    check_sample_counts(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_whatever_is_in_a_file_it_ends_and_raises_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.mp4"
    path.write_bytes(FTYP + inside(*TABLE, content=content) + content)
    try:
        check_sample_counts(path)
    except NotAVideo:
        return
