"""The plain values: what a caller may pass as a video, and as a reference."""

from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import InvalidRequest
from replyhook.jobs import JobStatus, SourceKind, VideoSource, checked_reference


def test_an_address_a_file_and_bytes_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "in.mp4"
    file.write_bytes(b"mp4")
    address = "https://user@a.example:8443/in%20put.mp4?sig=1"
    assert VideoSource.of(address) == VideoSource(kind=SourceKind.URL, text=address)
    assert VideoSource.of(file) == VideoSource.of(str(file)) == VideoSource(kind=SourceKind.FILE, text=str(file))
    assert VideoSource.of(b"mp4") == VideoSource(kind=SourceKind.DATA, data=b"mp4")
    ready = VideoSource.provider_job("video-7")
    assert VideoSource.of(ready) is ready
    assert ready == VideoSource(kind=SourceKind.PROVIDER_JOB, text="video-7")


@pytest.mark.parametrize(
    "video",
    [
        "", "missing.mp4", Path("/"), b"", None, 7, ["https://a.example"], "ftp://a.example/in.mp4", "file:///etc/passwd",
        "https://", "https:///in.mp4", "https://[::1", "https://a.example/in put.mp4", "https://a.example/\nin.mp4",
        "https://a.example:port/in.mp4", "https://a.example:99999/in.mp4", "a\x00b", "javascript://x",
    ],
    ids=repr,
)  # fmt: skip
def test_anything_else_is_refused_as_the_video(video: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        VideoSource.of(video)
    assert caught.value.field == "video"
    assert caught.value.allowed


def test_a_ready_source_is_checked_like_any_other(tmp_path: Path) -> None:
    for source in (
        VideoSource(kind=SourceKind.FILE, text=str(tmp_path / "missing.mp4")),
        VideoSource(kind=SourceKind.URL, text="file:///etc/passwd"),
        VideoSource(kind=SourceKind.DATA),
    ):
        with pytest.raises(InvalidRequest, match="video"):
            VideoSource.of(source)


def test_a_refused_address_does_not_show_its_signature_or_its_password() -> None:
    with pytest.raises(InvalidRequest) as caught:
        VideoSource.of("ftp://jane:geheim@a.example/in.mp4?sig=geheim")
    assert "geheim" not in str(caught.value)


def test_a_sources_address_and_bytes_are_not_shown() -> None:
    assert "sig" not in repr(VideoSource.of("https://a.example/in.mp4?sig=geheim"))
    assert "mp4" not in repr(VideoSource.of(b"mp4"))


@pytest.mark.parametrize("reference", [None, "order-42", "Bestellung 7 für ä", "r" * 1024])
def test_a_reference_is_the_callers_own_text(reference: str | None) -> None:
    assert checked_reference(reference) == reference


@pytest.mark.parametrize("reference", ["", "r" * 1025, "a\nb", "a\x00", "\x7f"])
def test_a_reference_that_cannot_be_kept_is_refused_by_the_arguments_name(reference: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked_reference(reference)
    assert caught.value.field == "reply_ref"
    assert caught.value.value == reference


def test_three_statuses_are_a_providers_last_word() -> None:
    assert {status for status in JobStatus if status.is_terminal} == {"succeeded", "failed", "canceled"}
