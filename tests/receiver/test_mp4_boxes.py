"""What a small file may claim: read from its boxes, before a decoder believes it."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replyhook_receiver.errors import NotAVideo
from replyhook_receiver.mp4_boxes import MAX_SAMPLES, check_boxes
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
        check_boxes(path)


def track(handler: bytes, codec: bytes) -> bytes:
    said = box(b"hdlr", b"\0" * 8 + handler + b"\0" * 13)
    entry = box(b"stsd", struct.pack(">II", 0, 1) + box(codec, b"\0" * 78))
    return box(b"trak", box(b"mdia", said + inside(b"minf", b"stbl", content=entry)))


@pytest.mark.parametrize("handler", [b"vide", b"text", b"\0\0\0\0"])
@pytest.mark.parametrize("codec", [b"png ", b"jpeg", b"mjpa", b"tiff"])
def test_pictures_in_place_of_a_video_are_refused_before_a_decoder_sees_them(
    tmp_path: Path, handler: bytes, codec: bytes
) -> None:
    path = tmp_path / "pictures.mp4"
    path.write_bytes(FTYP + box(b"moov", track(b"vide", b"avc1") + track(handler, codec)))
    with pytest.raises(NotAVideo, match="coding"):
        check_boxes(path)


@pytest.mark.parametrize("where", [b"moov", b"hoov"])
def test_a_packed_table_of_contents_is_refused(tmp_path: Path, where: bytes) -> None:
    path = tmp_path / "packed.mp4"
    path.write_bytes(FTYP + box(where, box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", b"anything"))))
    with pytest.raises(NotAVideo, match="packed"):
        check_boxes(path)


@pytest.mark.parametrize("codec", [b"avc1", b"avc3", b"hvc1", b"hev1", b"av01", b"vp09", b"mp4v", b"s263"])
def test_what_providers_send_is_taken_with_its_sound_and_its_times(tmp_path: Path, codec: bytes) -> None:
    path = tmp_path / "any.mp4"
    tracks = track(b"vide", codec) + track(b"soun", b"mp4a") + track(b"tmcd", b"tmcd")
    path.write_bytes(FTYP + box(b"moov", tracks))
    check_boxes(path)


def test_a_real_clip_passes(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, seconds=1, audio=True)
    check_boxes(path)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_whatever_is_in_a_file_it_ends_and_raises_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.mp4"
    path.write_bytes(FTYP + inside(*TABLE, content=content) + content)
    try:
        check_boxes(path)
    except NotAVideo:
        return
