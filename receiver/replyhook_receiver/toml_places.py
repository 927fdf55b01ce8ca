"""Reading a TOML file so that its mistakes can be pointed at: which key stands on which line."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replyhook.errors import ConfigurationError

KeyPath = tuple[str | int, ...]

_LONGEST_STATEMENT_LINES = 500
_KEY = re.compile(r"\s*\[{0,2}\s*([A-Za-z0-9_.-]{1,64})")
_LINE = re.compile(r"\(at line (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TomlFile:
    """What a file says; ``lines`` has the line of each key and table, by its path."""

    path: Path
    content: dict[str, Any] = field(repr=False)
    lines: dict[KeyPath, int]


def read_toml(path: Path) -> TomlFile:
    """Read a file. Raises ``ConfigurationError`` naming the line and the key, and never a value."""
    if not path.is_file():
        raise ConfigurationError(f"there is no settings file {path}; `replyhook config init {path}` makes one")
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: it is not UTF-8, at byte {error.start}") from None
    text = text.replace("\r\n", "\n")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {_where(text, str(error))}") from None
    return TomlFile(path=path, content=content, lines=_lines(text))


def _where(text: str, words: str) -> str:
    """The line and key of a mistake: of the statement that cannot be read, else as the parser says."""
    broken = next((line for line, chunk in _statements(text) if _parsed(chunk) is None), None)
    told = _LINE.search(words)
    line = broken or (int(told[1]) if told else None)
    if line is None:
        return words
    key = _KEY.match(text.split("\n")[line - 1])
    return f"line {line}{f', at {key[1]}' if key else ''}: {words.partition(' (at ')[0]}"


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each key with its value, and each table's heading, with the line it begins on; one that is broken is the last."""
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        if not lines[start].strip() or lines[start].lstrip().startswith("#"):
            start += 1
            continue
        ends = range(start + 1, min(len(lines), start + _LONGEST_STATEMENT_LINES) + 1)
        stop = next((end for end in ends if _parsed("\n".join(lines[start:end])) is not None), None)
        yield start + 1, "\n".join(lines[start : stop or start + 1])
        if stop is None:
            return
        start = stop


def _parsed(chunk: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(chunk)
    except tomllib.TOMLDecodeError:
        return None


def _lines(text: str) -> dict[KeyPath, int]:
    found: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for line, chunk in _statements(text):
        parsed = _parsed(chunk) or {}
        if chunk.lstrip().startswith("["):
            table = _heading(parsed, counts)
            found.setdefault(table[:1], line)
            found[table] = line
        else:
            for path in _paths(parsed):
                found.setdefault((*table, *path), line)
    return found


def _heading(parsed: dict[str, Any], counts: dict[KeyPath, int]) -> KeyPath:
    path: KeyPath = ()
    inner: Any = parsed
    while isinstance(inner, dict) and inner:
        key, inner = next(iter(inner.items()))
        path = (*path, key)
    if isinstance(inner, list):
        counts[path] = counts.get(path, -1) + 1
        return (*path, counts[path])
    return path


def _paths(content: dict[str, Any]) -> Iterator[KeyPath]:
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            for path in _paths(value):
                yield (key, *path)
