"""Our logs: one line each on stderr, as text or as JSON, with the ids of what they are about."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

FORMATS = ("auto", "text", "json")
_TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"
_FIELDS = "fields"
_about: ContextVar[Mapping[str, str]] = ContextVar("replyhook_log_about")


@contextmanager
def about(**names: str) -> Iterator[None]:
    """What is logged within, and in tasks that are begun within, is about these: ``job_id``, ``request_id``, ..."""
    token = _about.set({**_about.get({}), **names})
    try:
        yield
    finally:
        _about.reset(token)


def also_about(**names: str) -> None:
    """What is logged from now on, to the end of the task that says so, is about these, too."""
    _about.set({**_about.get({}), **names})


def now_about() -> Mapping[str, str]:
    """What is logged now is about these."""
    return _about.get({})


def fields(**values: str | float) -> dict[str, Mapping[str, str | float]]:
    """Further fields of one record, for ``extra=``; in text they are not shown, since its words say them."""
    return {_FIELDS: values}


def handler(log_format: str, stream: TextIO | None = None) -> logging.Handler:
    """What writes them; ``auto`` is text on a terminal and JSON elsewhere."""
    stream = stream or sys.stderr
    made = logging.StreamHandler(stream)
    is_text = log_format == "text" or (log_format == "auto" and stream.isatty())
    made.setFormatter(logging.Formatter(_TEXT) if is_text else JsonLines())
    return made


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        content: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get({}),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=True)
