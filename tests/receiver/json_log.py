"""What our loggers write as JSON lines."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from replyhook_receiver import logs


class Log:
    """What was written so far."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self, logger: str, **having: Any) -> list[dict[str, Any]]:
        """The lines of ``logger`` that have these fields."""
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in found if line["logger"] == logger and having.items() <= line.items()]


@contextmanager
def a_log() -> Iterator[Log]:
    """What is written meanwhile, at the usual level."""
    log = Log()
    handler = logs.handler("json", log.stream)
    named = [logging.getLogger(name) for name in ("replyhook", "replyhook_receiver")]
    levels = [each.level for each in named]
    for each in named:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    try:
        yield log
    finally:
        for each, level in zip(named, levels, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
