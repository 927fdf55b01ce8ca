"""Makes and extends MP4 files, with nothing but PyAV; a source that cannot be used raises ``UnusableVideo``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from replyhook_receiver.sandbox import sound
from replyhook_receiver.sandbox.frames import PIXEL_FORMAT, Continuation, even, pattern

CLOCK_HZ = 90_000
TIME_BASE = Fraction(1, CLOCK_HZ)
MAX_SIDE_PIXELS = 4096
SMALLEST_HEIGHT = 16
MAX_SOURCE_SECONDS = 120
MAX_SOURCE_FRAMES = 8_000
FASTEST_EXTENSION_FPS = 30.0
# Headers are off by a little; by more than this, a part of the file is missing.
MISSING_SECONDS = 1.0
DECODING_ERRORS = (av.FFmpegError, ArithmeticError, MemoryError, ValueError)


class UnusableVideo(Exception):
    """The source is not a video that can be extended; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A finished file: its size in pixels and its length."""

    width: int
    height: int
    seconds: float


def no_checkpoint() -> None:
    """Never stops the encoding."""


def make_clip(
    path: Path, *, seconds: float, width: int = 320, height: int = 180, fps: float = 24, audio: bool = False
) -> Clip:
    """Write a test clip to ``path``."""
    width, height = even(width), even(height)
    with _writing(path, width, height, fps, audio) as writer:
        for index in range(max(1, round(seconds * fps))):
            writer.add_picture(pattern(width, height, index), index / fps)
        writer.hold_until(seconds)
        if audio:
            writer.add_sound(sound.tone(sound.bytes_of(seconds)))
    return Clip(width=width, height=height, seconds=seconds)


def measure(source: Path) -> Clip:
    """What ``source`` is, after its own words. Raises ``UnusableVideo``."""
    with _reading(source, SMALLEST_HEIGHT) as reader:
        return reader.declared


def extend_clip(
    source: Path,
    target: Path,
    *,
    seconds: float,
    height: int,
    audio: bool,
    checkpoint: Callable[[], None] = no_checkpoint,
) -> Clip:
    """Write ``source``, scaled to ``height``, followed by ``seconds`` of new pictures, to ``target``.

    With ``audio`` the source keeps its sound (or silence) and the new part gets a tone. ``checkpoint`` is called
    before every picture and may raise to stop. Raises ``UnusableVideo``.
    """
    with _reading(source, height) as reader, _writing(target, reader.width, reader.height, reader.fps, audio) as writer:
        for picture, at in reader.pictures():
            checkpoint()
            writer.add_picture(picture, at)
        start = reader.end_seconds
        count = max(1, round(seconds * reader.fps))
        following = Continuation(reader.last, count)
        for index in range(count):
            checkpoint()
            writer.add_picture(following.picture(index), start + seconds * index / count)
        writer.hold_until(start + seconds)
        if audio:
            writer.add_sound(_sound_of(source, start) + sound.tone(sound.bytes_of(seconds)))
        return Clip(width=reader.width, height=reader.height, seconds=start + seconds)


def _sound_of(source: Path, seconds: float) -> bytes:
    try:
        return sound.sound_of(source, sound.bytes_of(seconds))
    except DECODING_ERRORS as error:
        raise UnusableVideo(f"the sound of the video cannot be decoded: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    # FFmpeg's own text names the file, which is nobody's business.
    return str(getattr(error, "strerror", None) or type(error).__name__)


class _Reader:
    """The pictures of a source file, scaled, and where they end. Nothing the file says of itself is believed."""

    def __init__(self, container: InputContainer, stream: VideoStream, height: int) -> None:
        if not (0 < stream.width <= MAX_SIDE_PIXELS and 0 < stream.height <= MAX_SIDE_PIXELS):
            raise UnusableVideo(f"a picture of {stream.width}x{stream.height} pixels is not accepted")
        self._container = container
        self._stream = stream
        self.height = even(height)
        self.width = even(stream.width * self.height / stream.height)
        if self.width > MAX_SIDE_PIXELS:
            raise UnusableVideo(f"the video is too wide for {height}p")
        self.fps = min(max(float(stream.average_rate or 24), 1.0), FASTEST_EXTENSION_FPS)
        self._last: VideoFrame | None = None
        self.end_seconds = 0.0

    @property
    def declared(self) -> Clip:
        """What the file says of itself."""
        seconds = (self._container.duration or 0) / av.time_base
        return Clip(width=self._stream.width, height=self._stream.height, seconds=seconds)

    @property
    def last(self) -> VideoFrame:
        if self._last is None:
            raise UnusableVideo("the video has no pictures")
        return self._last

    def pictures(self) -> Iterator[tuple[VideoFrame, float]]:
        """Every picture with its time; afterwards ``last`` and ``end_seconds`` are known."""
        first, at, count = 0.0, -1.0, 0
        for frame in self._decoded():
            count += 1
            time = frame.time if frame.pts is not None else count / self.fps
            first = time if self._last is None else first
            if time - first <= at:
                continue  # never backwards, whatever the file says
            at = time - first
            if at > MAX_SOURCE_SECONDS or count > MAX_SOURCE_FRAMES:
                raise UnusableVideo(f"the video is longer than {MAX_SOURCE_SECONDS} s")
            self._last = self._scaled(frame)
            yield self._last, at
        self.end_seconds = self._end_after(at)

    def _decoded(self) -> Iterator[VideoFrame]:
        try:
            yield from self._container.decode(self._stream)
        except DECODING_ERRORS as error:
            raise UnusableVideo(f"the video cannot be decoded: {_reason(error)}") from error

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        if max(frame.width, frame.height) > MAX_SIDE_PIXELS:
            raise UnusableVideo(f"a picture of {frame.width}x{frame.height} pixels is not accepted")
        try:
            return frame.reformat(width=self.width, height=self.height, format=PIXEL_FORMAT)
        except DECODING_ERRORS as error:
            raise UnusableVideo(f"the video has pictures of an unusable kind: {_reason(error)}") from error

    def _end_after(self, last_seconds: float) -> float:
        end = last_seconds + 1 / float(self._stream.average_rate or 24)
        declared = float((self._stream.duration or 0) * (self._stream.time_base or 0))
        if declared - end > MISSING_SECONDS:
            raise UnusableVideo("the video ends before the length that it declares")
        whole = (self._container.duration or 0) / av.time_base
        # Sound a little longer than the pictures: the last picture stands until it ends.
        return whole if end <= whole <= end + MISSING_SECONDS else end


@contextmanager
def _reading(source: Path, height: int) -> Iterator[_Reader]:
    try:
        # The format is fixed: otherwise a "video" could be a playlist that makes us open other files and addresses.
        container = av.open(str(source), "r", format="mp4", options={"protocol_whitelist": "file"})
    except (*DECODING_ERRORS, OSError) as error:
        raise UnusableVideo(f"the file is not an MP4: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise UnusableVideo("the file has no video in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise UnusableVideo("the video is of an unknown kind")
        yield _Reader(container, stream, height)


class _Writer:
    """One MP4 being written: pictures at given times, and sound."""

    def __init__(self, container: OutputContainer, width: int, height: int, fps: float, audio: bool) -> None:
        self._container = container
        self._video = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"preset": "ultrafast", "crf": "26"}
        )
        self._video.width, self._video.height, self._video.pix_fmt = width, height, PIXEL_FORMAT
        context = self._video.codec_context
        context.time_base, context.gop_size = TIME_BASE, 48
        context.thread_count = 1  # several encoders run at once: one thread each wastes least
        self._audio: AudioStream | None = None
        if audio:
            self._audio = container.add_stream("aac", rate=sound.RATE_HZ)
            self._audio.layout = "stereo"
        self._waiting: VideoFrame | None = None

    def add_picture(self, picture: VideoFrame, at_seconds: float) -> None:
        """Show ``picture`` from ``at_seconds`` on; the one before it ends there."""
        at = round(at_seconds * CLOCK_HZ)
        self._end_waiting(at)
        picture.pts, picture.time_base = at, TIME_BASE
        self._waiting = picture

    def hold_until(self, seconds: float) -> None:
        """Let the last picture stand until ``seconds``; none can follow."""
        end = round(seconds * CLOCK_HZ)
        last = self._end_waiting(end)
        for packet in self._video.encode(None):
            # Each picture ends where the next begins; only the last one needs to be told its length.
            if packet.pts == last:
                packet.duration = end - last
            self._container.mux(packet)

    def _end_waiting(self, at: int) -> int:
        if (picture := self._waiting) is None:
            return 0
        self._waiting, begin = None, picture.pts or 0
        picture.duration = max(1, at - begin)
        for packet in self._video.encode(picture):
            if packet.pts == begin:
                packet.duration = picture.duration
            self._container.mux(packet)
        return begin

    def add_sound(self, samples: bytes) -> None:
        """All of the sound at once, from the beginning."""
        if self._audio is None:
            return
        step = 1024 * sound.BYTES_PER_SAMPLE
        for start in range(0, len(samples), step):
            frame = sound.frame_of(samples[start : start + step], start // sound.BYTES_PER_SAMPLE)
            self._container.mux(self._audio.encode(frame))
        self._container.mux(self._audio.encode(None))


@contextmanager
def _writing(target: Path, width: int, height: int, fps: float, audio: bool) -> Iterator[_Writer]:
    """A writer whose file appears at ``target`` only when it is whole."""
    part = target.with_name(target.name + ".part")
    try:
        with av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            yield _Writer(container, width, height, fps, audio)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
