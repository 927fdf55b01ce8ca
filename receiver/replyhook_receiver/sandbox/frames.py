"""Draws pictures: the moving test pattern of a generated clip, and the frames that carry on from a last one."""

from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

PIXEL_FORMAT = "yuv420p"
ZOOM_AT_THE_END = 0.15
_WAVE = bytes(40 + (i if i < 128 else 255 - i) for i in range(256)) * 32
# Luma and two chromas: the block of a generated clip, and the one that tells the new part from it.
_PATTERN_COLOUR, _CONTINUATION_COLOUR = (210, 90, 190), (170, 160, 60)
_PLANE_SCALES = (1, 2, 2)  # yuv420p: colour at half the size


def even(value: float) -> int:
    """The nearest even size of at least 16 pixels: yuv420p halves its colour planes."""
    return max(16, 2 * round(value / 2))


def pattern(width: int, height: int, index: int) -> VideoFrame:
    """Frame ``index`` of a test pattern: a drifting diagonal wave with a block moving over it."""
    frame = VideoFrame(width, height, PIXEL_FORMAT)
    luma, stride = memoryview(frame.planes[0]), frame.planes[0].line_size
    for y in range(height):
        shift = (y + 3 * index) % 256
        luma[y * stride : y * stride + width] = _WAVE[shift : shift + width]
    for plane, tint in ((frame.planes[1], 120 + index % 48), (frame.planes[2], 150 - index % 48)):
        memoryview(plane)[:] = bytes([tint]) * plane.buffer_size
    _paint_block(frame, index, _PATTERN_COLOUR)
    return frame


class Continuation:
    """What follows a last picture: a slow zoom into it, drifting sideways, with a block moving over it."""

    def __init__(self, last: VideoFrame, length: int) -> None:
        self._last = last
        self._length = length

    def picture(self, index: int) -> VideoFrame:
        """Frame ``index`` of ``length``, counted from the end of the source."""
        width, height = self._last.width, self._last.height
        share = (index + 1) / self._length
        zoom = 1 + ZOOM_AT_THE_END * share
        larger = self._last.reformat(
            width=even(width * zoom), height=even(height * zoom), interpolation=Interpolation.FAST_BILINEAR
        )
        left = int((larger.width - width) * (0.5 + 0.5 * share)) & ~1
        top = (larger.height - height) // 2 & ~1
        frame = _crop(larger, left, top, width, height)
        _paint_block(frame, index, _CONTINUATION_COLOUR)
        return frame


def _crop(source: VideoFrame, left: int, top: int, width: int, height: int) -> VideoFrame:
    frame = VideoFrame(width, height, PIXEL_FORMAT)
    for scale, source_plane, plane in zip(_PLANE_SCALES, source.planes, frame.planes, strict=True):
        columns, x, y = width // scale, left // scale, top // scale
        pixels, wanted = memoryview(source_plane), memoryview(plane)
        source_stride, stride = source_plane.line_size, plane.line_size
        for row in range(height // scale):
            start = (row + y) * source_stride + x
            wanted[row * stride : row * stride + columns] = pixels[start : start + columns]
    return frame


def _paint_block(frame: VideoFrame, index: int, colour: tuple[int, int, int]) -> None:
    size = even(min(frame.width, frame.height) / 5)
    room = max(2, frame.width - size)
    left = (index * max(2, frame.width // 80)) % room & ~1
    top = (frame.height - size) // 2 & ~1
    for scale, plane, value in zip(_PLANE_SCALES, frame.planes, colour, strict=True):
        pixels, row = memoryview(plane), bytes([value]) * (size // scale)
        for y in range(top // scale, (top + size) // scale):
            start = y * plane.line_size + left // scale
            pixels[start : start + len(row)] = row
