"""Looking inside a video: is it one, is it whole, how long and how large is it."""

from dataclasses import dataclass
from pathlib import Path

from replyhook_receiver.errors import NotAVideo
from replyhook_receiver.mp4_boxes import check_sample_counts

try:
    import av
    import av.error
except ImportError:  # without [media] the container's signature is all that is checked
    HAS_PYAV = False
else:
    HAS_PYAV = True

_SNIFFED_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetails:
    """What a look inside found; None for what was not looked at."""

    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None


def inspect(path: Path) -> VideoDetails:
    """Check that ``path`` is a whole MP4 (or QuickTime) video. Raises ``NotAVideo``.

    The container's ``ftyp`` is always checked; with PyAV every packet is read, since a truncated file still opens as
    whole (LIBRARIES: tried).
    """
    with path.open("rb") as file:
        start = file.read(_SNIFFED_BYTES)
    if start[4:8] != b"ftyp":
        raise NotAVideo("what came is not an MP4 video (no ftyp at its start)")
    check_sample_counts(path)
    return _read_through(path) if HAS_PYAV else VideoDetails()


def _read_through(path: Path) -> VideoDetails:
    try:
        with av.open(path, mode="r", format="mov,mp4,m4a,3gp,3g2,mj2", metadata_errors="replace") as container:
            if not container.streams.video:
                raise NotAVideo("what came holds no picture")
            video = container.streams.video[0]
            packets = 0
            for packet in container.demux():
                if packet.is_corrupt:
                    raise NotAVideo("the video is cut off or damaged")
                packets += packet.stream is video and packet.size > 0
            if packets == 0 or (video.frames and packets < video.frames):
                raise NotAVideo(f"the video is cut off: {packets} of {video.frames} frames are there")
            duration = None if container.duration is None else container.duration / av.time_base
            return VideoDetails(duration_seconds=duration, width=video.width, height=video.height)
    except (av.error.FFmpegError, ValueError) as error:
        raise NotAVideo(f"the video cannot be read ({type(error).__name__})") from error
