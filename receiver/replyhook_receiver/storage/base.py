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

    @property
    def note(self) -> bytes:
        """What was noted with the bytes that are there; empty where nobody can vouch for them."""
        ...

    async def begin(self, note: bytes) -> None:
        """Throw away what is there and begin anew. Without a note nothing will remain of it for another try."""
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
    """A place for videos. Its methods raise ``LowDisk`` where there is no room, ``PartInUse`` for a part twice."""

    def incoming(self, name: str, *, resume: bool = False) -> AbstractAsyncContextManager[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains.

        With ``resume`` it goes on with what an earlier try has left, in whatever process that was, and leaves what it
        has come to, with its note, to the next.
        """
        ...

    async def put(self, name: str, content: bytes) -> None:
        """Store something small beside the videos, whole or not at all."""
        ...

    async def forget(self, name: str) -> None:
        """Remove what has come so far of a video that nobody will go on with."""
        ...

    def unfinished(self) -> list[str]:
        """The names of the videos that something was left of, to be gone on with."""
        ...

    def free_bytes(self) -> int:
        """How much room there is where videos come in."""
        ...

    def local_path(self, name: str) -> Path | None:
        """The file of a stored video, or None where it is not (or not on this machine)."""
        ...


def video_name(job_id: str, finished_at: datetime) -> str:
    """A video's name: by date and job id, so that nothing of it comes from outside."""
    return f"{finished_at:%Y/%m/%d}/{job_id}.mp4"


def poster_name(video: str) -> str:
    """The name of a video's poster, beside it."""
    return f"{video.removesuffix('.mp4')}.jpg"


def job_of(video: str) -> str:
    """The job whose video has this name."""
    return video.rpartition("/")[2].removesuffix(".mp4")
