"""Looking inside a video: is it one, is it whole, how long and how large is it, what does it begin with."""

import io
from dataclasses import dataclass
from pathlib import Path

from replyhook_receiver.errors import NotAVideo
from replyhook_receiver.mp4_boxes import check_boxes

try:
    import av
    import av.error
except ImportError:  # without [media] the container's signature is all that is checked
    HAS_PYAV = False
else:
    HAS_PYAV = True

SNIFFED_BYTES = 12
_MAX_PIXELS = 4096 * 2304
"""Of larger pictures no poster is made: a decoder holds several whole ones."""
_POSTER_WIDTH = 640
_LOOKED_THROUGH = 50
_PICTURES = frozenset({"png", "apng", "mjpeg", "jpeg2000", "tiff", "gif", "bmp"})
"""Codings that an MP4 may hide under a video's name (``mp4v``); no provider sends one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetails:
    """What a look inside found; None for what was not looked at."""

    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None


def is_start_of_mp4(start: bytes) -> bool:
    """Whether these are the first bytes of an MP4 (or QuickTime) file."""
    return start[4:8] == b"ftyp"


def check_start(start: bytes) -> None:
    """Raise ``NotAVideo`` unless these first bytes are those of an MP4 (or QuickTime) file."""
    if not is_start_of_mp4(start):
        raise NotAVideo("what came is not an MP4 video (no ftyp at its start)")


def inspect(path: Path) -> VideoDetails:
    """Check that ``path`` is a whole MP4 (or QuickTime) video. Raises ``NotAVideo``.

    The container's ``ftyp`` is always checked; with PyAV every packet is read, since a truncated file still opens as
    whole (LIBRARIES: tried).
    """
    with path.open("rb") as file:
        check_start(file.read(SNIFFED_BYTES))
    check_boxes(path)
    return _read_through(path) if HAS_PYAV else VideoDetails()


def _read_through(path: Path) -> VideoDetails:
    try:
        with av.open(path, mode="r", format="mov,mp4,m4a,3gp,3g2,mj2", metadata_errors="replace") as container:
            if not container.streams.video:
                raise NotAVideo("what came holds no picture")
            video = container.streams.video[0]
            if getattr(video.codec_context, "name", None) in _PICTURES:  # there is none without a decoder
                raise NotAVideo("what came is a picture in a video's place")
            packets = 0
            for packet in container.demux():
                if packet.is_corrupt:
                    raise NotAVideo("the video is cut off or damaged")
                packets += packet.stream is video and packet.size > 0
            if packets == 0 or (video.frames and packets < video.frames):
                raise NotAVideo(f"the video is cut off: {packets} of {video.frames} frames are there")
            duration = None if container.duration is None else container.duration / av.time_base
            return VideoDetails(duration_seconds=duration, width=video.width, height=video.height)
    except MemoryError as error:
        raise NotAVideo("the video needs more memory than a look at it may take") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise NotAVideo(f"the video cannot be read ({type(error).__name__})") from error


def make_poster(path: Path) -> bytes | None:
    """A small JPEG of the first picture of a video, or None where none can be made (or there is no PyAV)."""
    if not HAS_PYAV:
        return None
    try:
        with av.open(path, mode="r", format="mov,mp4,m4a,3gp,3g2,mj2", metadata_errors="replace") as container:
            video = container.streams.video[0]
            if not 0 < video.width * video.height <= _MAX_PIXELS:
                return None
            video.codec_context.thread_count = 1  # one picture is wanted: more threads would only hold more of them
            video.codec_context.skip_frame = "NONKEY"
            for number, packet in enumerate(container.demux(video)):
                for frame in packet.decode():
                    return _as_jpeg(frame)
                if number > _LOOKED_THROUGH:
                    break
    except (av.error.FFmpegError, ValueError, IndexError, MemoryError):
        return None  # a video without a poster is still a video
    return None


def _as_jpeg(frame: "av.VideoFrame") -> bytes | None:
    width = min(_POSTER_WIDTH, frame.width) // 2 * 2
    height = max(frame.height * width // max(frame.width, 1) // 2 * 2, 2)
    if width < 2 or height > _MAX_PIXELS // width:
        return None
    file = io.BytesIO()
    with av.open(file, mode="w", format="mjpeg") as output:
        stream = output.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        picture = frame.reformat(width=width, height=height, format="yuvj420p", dst_color_range="JPEG")
        picture.pts = None
        output.mux([*stream.encode(picture), *stream.encode(None)])
    return file.getvalue()
