"""The Storage protocol: where videos go. A video appears whole under its name or not at all."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol


class Incoming(Protocol):
    """A video on its way in."""

    @property
    def path(self) -> Path:
        """Where its bytes are so far, for a look inside before it is kept."""
        ...

    @property
    def size(self) -> int:
        """How many bytes have come."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Append bytes."""
        ...

    async def flush(self) -> None:
        """Let what was written be seen at ``path``."""
        ...

    async def keep(self) -> str:
        """Make it durable under its name; its SHA-256 in hexadecimal."""
        ...


class Storage(Protocol):
    """A place for videos."""

    def incoming(self, name: str) -> AbstractAsyncContextManager[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains."""
        ...

    def local_path(self, name: str) -> Path | None:
        """The file of a stored video, or None where it is not (or not on this machine)."""
        ...


def video_name(job_id: str, finished_at: datetime) -> str:
    """A video's name: by date and job id, so that nothing of it comes from outside."""
    return f"{finished_at:%Y/%m/%d}/{job_id}.mp4"
