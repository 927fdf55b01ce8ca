"""What is extended really is a video, and as long as it should be."""

from itertools import pairwise
from pathlib import Path

import av
import pytest

from replyhook_receiver.sandbox.video import UnusableVideo, extend_clip, make_clip


def seconds_of(path: Path) -> float:
    with av.open(str(path)) as container:
        assert container.duration is not None
        return container.duration / av.time_base


@pytest.mark.parametrize(
    ("clip", "seconds", "height", "audio"),
    [
        ({}, 5, 540, False),
        ({"audio": True}, 5, 360, True),
        ({"audio": True}, 1, 360, False),
        ({"fps": 29.97}, 1, 360, True),
        ({"fps": 12.5, "audio": True}, 3, 360, True),
        ({"fps": 60}, 2, 360, False),
        ({"width": 181, "height": 321}, 1, 720, False),
        ({"seconds": 0.3}, 15, 360, True),
    ],
    ids=str,
)
def test_an_extended_clip_is_longer_by_what_was_asked(tmp_path, clip, seconds, height, audio):
    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    make_clip(source, **({"seconds": 2.0} | clip))

    made = extend_clip(source, target, seconds=seconds, height=height, audio=audio)

    assert seconds_of(target) == pytest.approx(seconds_of(source) + seconds, abs=0.1)
    assert made.seconds == pytest.approx(seconds_of(target), abs=0.1)
    with av.open(str(target)) as container:
        video = container.streams.video[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt, video.height) == ("h264", "yuv420p", height)
        assert made.width == video.width
        assert [stream.codec_context.name for stream in container.streams.audio] == (["aac"] if audio else [])


def test_the_new_pictures_begin_where_the_source_ends_and_then_move(tmp_path):
    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    make_clip(source, seconds=1)
    extend_clip(source, target, seconds=2, height=180, audio=False)

    with av.open(str(target)) as container:
        lumas = [bytes(frame.planes[0]) for frame in container.decode(video=0)]

    def difference(one: bytes, other: bytes) -> float:
        return sum(abs(a - b) for a, b in zip(one[::7], other[::7], strict=True)) / len(one[::7])

    assert len(lumas) == 72
    assert difference(lumas[23], lumas[24]) < 10
    assert difference(lumas[23], lumas[71]) > 10
    assert all(one != other for one, other in pairwise(lumas[24:]))


def test_the_index_of_an_extended_clip_stands_in_front_so_that_it_plays_while_it_loads(tmp_path):
    make_clip(tmp_path / "clip.mp4", seconds=0.5)
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"GIF89a" + b"x" * 5000,
        lambda _: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        lambda good: good[: len(good) // 2],
        lambda good: good[40:],
        lambda good: good.replace(b"avc1", b"zzzz"),
        lambda good: good[:1500] + bytes(len(good) - 1500),
    ],
    ids=["empty", "not a video", "a playlist", "cut off", "beheaded", "unknown codec", "blanked"],
)
def test_a_bad_source_is_unusable_and_leaves_nothing_behind(tmp_path, spoil):
    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    make_clip(source, seconds=1)
    source.write_bytes(spoil(source.read_bytes()))

    with pytest.raises(UnusableVideo) as caught:
        extend_clip(source, target, seconds=1, height=360, audio=True)

    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]
