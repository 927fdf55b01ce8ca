"""Small charts as numbers for SVG, drawn here: where each bar stands, and the same in words."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 90
_GAP = 3
_LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar. ``words`` say what it shows; ``kind`` is what its colour comes from."""

    x: float
    y: float
    width: float
    height: float
    words: str
    kind: str = "other"


def columns(values: Sequence[int | None], words: Sequence[str]) -> list[Bar]:
    """Upright bars, one for each value; None is a value nobody knows, and has no bar."""
    most = max((value for value in values if value is not None), default=0) or 1
    step = WIDTH / max(len(values), 1)
    found = []
    for place, (value, said) in enumerate(zip(values, words, strict=True)):
        if value is not None:
            height = max(value / most * HEIGHT, _LEAST)
            kind = "going" if value else "other"
            found.append(
                Bar(
                    x=round(place * step, 1),
                    y=round(HEIGHT - height, 1),
                    width=round(step - _GAP, 1),
                    height=round(height, 1),
                    words=said,
                    kind=kind,
                )
            )
    return found


def share(value: float, most: float) -> float:
    """How far a lying bar of ``value`` reaches where ``most`` reaches across."""
    return round(max(value / most, 0.004) * WIDTH, 1) if most > 0 else 0.0


def stack(parts: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """One bar of parts, each with its name, its count and its kind, in their order."""
    whole = sum(count for _, count, _ in parts)
    found, x = [], 0.0
    for name, count, kind in parts:
        width = count / whole * WIDTH if whole else 0.0
        if count:
            found.append(
                Bar(x=round(x, 1), y=0, width=round(max(width, 1), 1), height=16, words=f"{name}: {count}", kind=kind)
            )
        x += width
    return found
