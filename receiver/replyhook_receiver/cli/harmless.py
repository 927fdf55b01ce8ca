"""Outside text made harmless for a terminal: what could move its cursor or turn its letters round is spelled out."""

import re
import unicodedata
from typing import Any

import msgspec

_CUT = "…"
_NOT_FOR_TERMINALS = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def harmless(text: str, *, longest: int | None = None, lines: bool = False) -> str:
    """``text`` without control and format characters; cut at ``longest``; with its line ends where ``lines``."""
    if longest is not None and len(text) > longest:
        text = text[: longest - len(_CUT)] + _CUT
    if text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter, lines) else _spelled(letter) for letter in text)


def harmless_json(content: Any, *, indent: bool = True) -> str:
    """JSON that a terminal shows as it stands: the same value, with what a terminal might act upon escaped."""
    encoded = msgspec.json.encode(content)
    text = (msgspec.json.format(encoded) if indent else encoded).decode()
    # JSON itself escapes only what lies below the space.
    return _NOT_FOR_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _is_harmless(letter: str, lines: bool) -> bool:
    return letter.isprintable() or unicodedata.category(letter) == "Zs" or (lines and letter in "\n\t")


def _spelled(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
