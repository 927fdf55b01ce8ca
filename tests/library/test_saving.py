"""Downloading over real HTTP: a video whole under its name, or not at all."""

import base64
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest

from replyhook import ReplyhookError
from replyhook.errors import JobNotFound, ReceiverUnavailable, UnreadableMessage
from tests.library.conftest import Driver
from tests.library.loopback import VIDEO, Answer, World, file, says, sends_on, squeezed


def test_a_video_is_saved_whole(drive: Driver, job: Any, world: World, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "out.mp4"
    assert drive(job.download(str(path))) == path
    assert path.read_bytes() == VIDEO
    assert list(path.parent.iterdir()) == [path]
    (asked,) = world.to("GET /v1/jobs/")
    assert asked.path == f"/v1/jobs/{job.id}/video"
    assert asked.headers["authorization"] == "Bearer rk-geheim"


@pytest.mark.parametrize("trouble", ["cut off", "another video", "no video", "not yet", "away"])
@pytest.mark.parametrize("before", [None, b"the last one"])
def test_a_video_is_saved_whole_or_not_at_all(
    drive: Driver, job: Any, world: World, tmp_path: Path, trouble: str, before: bytes | None
) -> None:
    path = tmp_path / "out.mp4"
    if before:
        path.write_bytes(before)
    cases: dict[str, tuple[Answer, type[Exception] | tuple[type[Exception], ...]]] = {
        "cut off": (file(cut_after=300_000), (UnreadableMessage, ReceiverUnavailable)),
        "another video": (file(digest_of=b"another"), UnreadableMessage),
        "no video": (says(404, {"title": "none"}), JobNotFound),
        "not yet": (says(202, {}), ReplyhookError),
        "away": (says(503), ReceiverUnavailable),
    }
    answer, error = cases[trouble]
    world.will_answer("GET /v1/jobs/", answer)
    with pytest.raises(error):
        drive(job.download(path))
    assert [entry.name for entry in tmp_path.iterdir()] == (["out.mp4"] if before else [])
    assert not before or path.read_bytes() == before


def test_a_video_in_an_object_store_is_followed_there_without_our_key(
    drive: Driver, job: Any, world: World, tmp_path: Path
) -> None:
    """DESIGN §8: ``/v1/jobs/{id}/video`` is a presigned redirect there."""
    elsewhere = world.url.replace("127.0.0.1", "localhost")
    world.will_answer("GET /v1/jobs/", sends_on(f"{elsewhere}/bucket/video.mp4?sig=1"))
    drive(job.download(tmp_path / "out.mp4"))
    assert (tmp_path / "out.mp4").read_bytes() == VIDEO
    assert "authorization" not in world.to("GET /bucket/")[0].headers


def test_an_object_stores_bytes_are_checked_against_what_the_receiver_says_of_them(
    drive: Driver, job: Any, world: World, tmp_path: Path
) -> None:
    elsewhere = f"{world.url.replace('127.0.0.1', 'localhost')}/bucket/video.mp4"
    for content, is_kept in ((b"another", False), (VIDEO, True)):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        world.will_answer("GET /v1/jobs/", sends_on(elsewhere, x_target_digest=f"sha-256=:{digest}:"))
        with contextlib.nullcontext() if is_kept else pytest.raises(UnreadableMessage):
            drive(job.download(tmp_path / "out.mp4"))
        assert (tmp_path / "out.mp4").exists() == is_kept


def test_an_object_store_that_does_not_give_the_video_is_not_blamed_on_the_receiver(
    drive: Driver, job: Any, world: World, tmp_path: Path
) -> None:
    elsewhere = f"{world.url.replace('127.0.0.1', 'localhost')}/bucket/video.mp4"
    world.will_answer("GET /bucket/", says(403))
    for target, words in ((elsewhere, "HTTP 403"), ("http://localhost:9/video.mp4", "ConnectError")):
        world.will_answer("GET /v1/jobs/", sends_on(target))
        with pytest.raises(ReceiverUnavailable, match=f"the place to which the receiver leads.*{words}"):
            drive(job.download(tmp_path / "out.mp4"))
    world.will_answer("GET /v1/jobs/", says(503, {"title": "x", "detail": "busy"}))
    with pytest.raises(ReceiverUnavailable, match="the receiver answered 503"):
        drive(job.download(tmp_path / "out.mp4"))


def test_a_compressing_proxy_does_not_change_the_video(drive: Driver, job: Any, world: World, tmp_path: Path) -> None:
    world.will_answer("GET /v1/jobs/", squeezed())
    drive(job.download(tmp_path / "out.mp4"))
    assert (tmp_path / "out.mp4").read_bytes() == VIDEO
