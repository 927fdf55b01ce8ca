"""The Storage protocol: where videos go. A video appears whole under its name or not at all."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

_MAX_NAME_LENGTH = 512
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*")


class Whole(Protocol):
    """A video all of which is on this machine, for a look inside before it is kept."""

    @property
    def path(self) -> Path:
        """Where its bytes are so far."""
        ...

    @property
    def size(self) -> int:
        """How many bytes have come."""
        ...

    async def keep(self) -> str:
        """Make it durable under its name; its SHA-256 in hexadecimal. Raises ``StorageTrouble``."""
        ...


class Incoming(Whole, Protocol):
    """A video on its way in."""

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        ...

    async def flush(self) -> None:
        """Let what was written be seen at ``path``."""
        ...


class Storage(Protocol):
    """A place for videos. A name that is none of ours (``checked_name``) is a ``ValueError``."""

    def incoming(self, name: str) -> AbstractAsyncContextManager[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains."""
        ...

    async def taken_in(self, name: str) -> Whole | None:
        """All of a video that came before, but whose ``keep`` failed or was not lived to be noted; to be kept again."""
        ...

    async def size(self, name: str) -> int | None:
        """The bytes of a stored video, or None where there is none. Raises ``StorageTrouble``."""
        ...

    def read(self, name: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """A stored video's bytes from ``start`` up to ``stop``, a few at a time. Raises ``StorageTrouble``."""
        ...

    async def link(self, name: str, *, seconds: int) -> str | None:
        """Where anybody can fetch a stored video for ``seconds``; None where this place gives no such links."""
        ...

    def sweep(self) -> None:
        """Remove what killed processes left of unfinished videos."""
        ...


def video_name(job_id: str, finished_at: datetime) -> str:
    """A video's name: by date and job id, so that nothing of it comes from outside."""
    return f"{finished_at:%Y/%m/%d}/{job_id}.mp4"


def checked_name(name: str) -> str:
    """``name``, if it is plain letters in plain folders. Raises ``ValueError``: it may have come from outside."""
    if len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise ValueError("a video's name holds letters, digits, dots and dashes, and never leaves its folder")
    return name
