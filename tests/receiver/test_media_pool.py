"""Looks inside videos happen in another process, which a hostile video may bring down."""

import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("av", reason="without PyAV nothing is decoded")

import av

from replyhook_receiver import media_child, media_pool
from replyhook_receiver.errors import NotAVideo, StorageTrouble
from replyhook_receiver.media_pool import Look, look
from replyhook_receiver.sandbox.video import make_clip
from tests.receiver.test_mp4_boxes import FTYP, box


@pytest.fixture(autouse=True)
def no_child_of_others() -> Iterator[None]:
    media_pool.let_go()
    yield
    media_pool.let_go()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    make_clip(path, seconds=1, audio=True)
    return path


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A file of a megabyte that takes seconds to look through: every byte of it is a sample."""
    count = 1_000_000
    tables = [
        box(b"stsd", struct.pack(">II", 0, 1) + box(b"mp4v", struct.pack(">6xH16xHH50x", 1, 320, 240))),
        box(b"stts", struct.pack(">IIII", 0, 1, count, 1)),
        box(b"stsc", struct.pack(">IIIII", 0, 1, 1, count, 1)),
        box(b"stsz", struct.pack(">III", 0, 1, count)),
        box(b"stco", struct.pack(">III", 0, 1, len(FTYP) + 8)),
    ]
    said = box(b"hdlr", b"\0" * 8 + b"vide" + b"\0" * 13)
    head = box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 1000, 1000, 0x55C4, 0))
    media = box(b"mdia", head + said + box(b"minf", box(b"stbl", b"".join(tables))))
    path = tmp_path / "slow.mp4"
    path.write_bytes(FTYP + box(b"mdat", b"\0" * count) + box(b"moov", box(b"trak", media)))
    return path


def waiting_child() -> int:
    (child,) = media_pool._idle
    return child._process.pid


def test_a_clip_is_described_and_has_a_poster_and_the_process_is_kept_for_the_next(clip: Path) -> None:
    details, poster = look(clip)
    assert (details.width, details.height) == (320, 180)
    assert poster is not None
    assert poster.startswith(b"\xff\xd8")
    first = waiting_child()
    look(clip)
    assert waiting_child() == first


def test_what_is_no_video_is_refused_and_harms_nobody(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(FTYP + b"hello")
    look(clip)
    first = waiting_child()
    with pytest.raises(NotAVideo):
        look(path)
    look(clip)
    assert waiting_child() == first


def test_a_picture_under_a_videos_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    with av.open(path, "w", format="mp4") as output:
        stream = output.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        picture = av.VideoFrame(64, 64, "rgb24")
        output.mux([*stream.encode(picture), *stream.encode(None)])
    assert b"mp4v" in path.read_bytes()
    with pytest.raises(NotAVideo, match="picture"):
        look(path)


def test_a_look_that_is_killed_says_no_video_and_the_next_one_is_had(clip: Path, slow: Path) -> None:
    look(clip)
    threading.Timer(0.2, os.kill, (waiting_child(), signal.SIGKILL)).start()
    with pytest.raises(NotAVideo, match="memory"):
        look(slow)
    assert look(clip)[0].width == 320


def test_a_look_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, clip: Path, slow: Path) -> None:
    look(clip)
    monkeypatch.setattr(media_pool, "_SECONDS", 0.1)
    with pytest.raises(NotAVideo, match="too long"):
        look(slow)


def test_a_look_that_is_stopped_ends_at_once_and_harms_no_other(clip: Path, slow: Path) -> None:
    look(clip)
    stopped, waiting = Look(slow), waiting_child()
    threading.Timer(0.2, stopped.stop).start()
    with pytest.raises(NotAVideo):
        stopped()
    with pytest.raises(ProcessLookupError):
        os.kill(waiting, 0)
    finished = Look(clip)
    finished()
    finished.stop()  # too late to mean anything
    kept = waiting_child()
    look(clip)
    assert waiting_child() == kept
    never_begun = Look(clip)
    never_begun.stop()
    with pytest.raises(StorageTrouble, match="stopped"):
        never_begun()


def test_a_process_that_was_killed_while_it_waited_costs_no_video(clip: Path) -> None:
    look(clip)
    os.kill(waiting_child(), signal.SIGKILL)
    time.sleep(0.1)
    assert look(clip)[0].width == 320


def test_no_more_processes_than_two_look_at_a_time(clip: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(look, [clip] * 24))) == 24
    assert 1 <= len(media_pool._idle) <= media_pool.AT_A_TIME


def test_where_no_process_can_be_had_the_video_is_not_blamed(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(StorageTrouble, match="process"):
        look(clip)


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="only Linux shows what a process may do")
def test_the_process_has_bounds_and_neither_our_secrets_nor_our_files(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    monkeypatch.setenv("REPLYHOOK_API_KEYS", "geheim")
    look(clip)
    own = Path(f"/proc/{waiting_child()}")
    limits = own.joinpath("limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert 0 < int(line.split()[3]) < 8 * media_child.MEMORY_BYTES
    (line,) = [line for line in limits.splitlines() if line.startswith("Max cpu time")]
    assert 0 < int(line.split()[3]) < 120
    assert "geheim" not in own.joinpath("environ").read_text()
    held = {os.readlink(each) for each in own.joinpath("fd").iterdir()}
    assert all(each.startswith("pipe:") or each == "/dev/null" for each in held)


def test_memory_that_a_look_may_not_have_ends_the_look_and_not_the_process(
    monkeypatch: pytest.MonkeyPatch, clip: Path
) -> None:
    def all_there_is(_: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(media_child, "inspect", all_there_is)
    monkeypatch.setattr(media_child, "HAS_LIMITS", False)  # here it is our own process
    assert "memory" in media_child.answer({"path": str(clip), "cpu_seconds": 20})["refused"]


def test_the_processes_are_there_before_the_first_video_and_are_not_started_twice() -> None:
    media_pool.let_go()
    media_pool.warm_up()
    waiting = list(media_pool._idle)
    assert len(waiting) == media_pool.AT_A_TIME
    media_pool.warm_up()
    assert media_pool._idle == waiting
