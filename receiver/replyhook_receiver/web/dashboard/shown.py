"""How values stand on pages: times, sizes, waits, JSON; and strangers' text, which is text and nothing else."""

import json
import re
from datetime import UTC, datetime
from typing import Any

# What would turn the order of letters around, or hide some, stands there as its number (as in Trojan Source).
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST = 200
# Deeper JSON stands as it came: each line of it begins with as many blanks, so a small body makes a page of megabytes.
_DEEPEST = 12
_KIB = 1024


def plain(value: object, longest: int = _LONGEST) -> str:
    """A stranger's text in one line, cut where nobody reads on."""
    text = harmless(" ".join(str(value).split()))
    return text if len(text) <= longest else f"{text[:longest]}…"


def harmless(text: str) -> str:
    """A text whose every letter is seen, in the order it is written; line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def pretty(text: str) -> str:
    """JSON with its lines apart, as people and providers write it; anything else as it is."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return harmless(text)
    if not isinstance(content, dict | list) or _is_deep(content):
        return harmless(text)
    try:
        return harmless(json.dumps(content, indent=2, ensure_ascii=False))
    except ValueError:
        return harmless(text)


def _is_deep(content: Any) -> bool:
    """Whether lists and objects stand in one another more often than anybody means it."""
    level = [content]
    for _ in range(_DEEPEST):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for some in inner for each in some if isinstance(each, dict | list)]
    return bool(level)


def bytes_size(count: int | None) -> str:
    """So many bytes, in words that are read at a glance."""
    if count is None:
        return "-"
    if count < _KIB:
        return f"{count} B"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KIB
        if size < _KIB:
            return f"{size:.1f} {unit}"
    return f"{size / _KIB:.1f} TiB"


def wait_of(seconds: float | None) -> str:
    """So long a time, in one or two units."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def time_attribute(at: datetime | str) -> str:
    """A moment, as we have it or as the API tells it, as ``<time datetime>`` has it; the browser shows it in its own
    zone."""
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_words(at: datetime | str) -> str:
    """A moment for who has no script."""
    return f"{_moment(at):%Y-%m-%d %H:%M:%S} UTC"


def time_field(at: str | None) -> str:
    """A moment as a field for one takes it, in UTC; nothing where it is none."""
    try:
        return f"{_moment(at):%Y-%m-%dT%H:%M}" if at else ""
    except (ValueError, OverflowError):
        return ""


def _moment(at: datetime | str) -> datetime:
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)


def words_of(name: object) -> str:
    """A word of ours as people write it: ``paid_not_stored`` is paid not stored."""
    return str(name).replace("_", " ")
