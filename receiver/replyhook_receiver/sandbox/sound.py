"""Sound as raw samples (16-bit stereo): a tone, silence, and what a source file sounds like."""

import math
from array import array
from pathlib import Path

import av
from av.audio.frame import AudioFrame

RATE_HZ = 44_100
BYTES_PER_SAMPLE = 4
_PERIOD_SAMPLES = 100  # 441 Hz, so that one period is a whole number of samples
_VOLUME = 6_000


def bytes_of(seconds: float) -> int:
    """How many bytes of raw sound last ``seconds``."""
    return round(seconds * RATE_HZ) * BYTES_PER_SAMPLE


def tone(length: int) -> bytes:
    """``length`` bytes of a steady tone."""
    wave = array("h")
    for i in range(_PERIOD_SAMPLES):
        wave.extend([round(_VOLUME * math.sin(2 * math.pi * i / _PERIOD_SAMPLES))] * 2)
    period = wave.tobytes()
    return (period * (length // len(period) + 1))[:length]


def sound_of(source: Path, length: int) -> bytes:
    """The first ``length`` bytes of what ``source`` sounds like, silence where it has none.

    Raises ``av.FFmpegError`` when its sound cannot be decoded.
    """
    heard = bytearray()
    # The format is fixed, as in video.py: a playlist may not pose as a video.
    with av.open(str(source), "r", format="mp4") as container:
        if container.streams.audio:
            resampler = av.AudioResampler(format="s16", layout="stereo", rate=RATE_HZ)
            for decoded in container.decode(container.streams.audio[0]):
                for frame in resampler.resample(decoded):
                    heard += bytes(frame.planes[0])[: frame.samples * BYTES_PER_SAMPLE]
                if len(heard) >= length:
                    break
    return bytes(heard[:length]).ljust(length, b"\0")


def frame_of(samples: bytes, at_sample: int) -> AudioFrame:
    """Raw sound as a frame for an encoder."""
    frame = AudioFrame(format="s16", layout="stereo", samples=len(samples) // BYTES_PER_SAMPLE)
    memoryview(frame.planes[0])[: len(samples)] = samples
    frame.sample_rate = RATE_HZ
    frame.pts = at_sample
    return frame
