"""The Storage protocol: where videos go. A video appears whole under its name or not at all."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

_MAX_NAME_LENGTH = 512
REJECTED_SUFFIX = ".rejected"
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


class Unchecked(Whole, Protocol):
    """A video that is wholly here and has not been looked into: only who looks decides what becomes of it."""

    async def reject(self) -> None:
        """Put it aside, for a person to look at, as ``rejected_name`` in the folder on this machine."""
        ...


class Incoming(Unchecked, Protocol):
    """A video on its way in."""

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

    async def settle(self) -> None:
        """Say that it is whole: now it outlives a stop, a kill and a power cut, for ``unchecked`` to take it up."""
        ...


class Storage(Protocol):
    """A place for videos. A name that is none of ours (``checked_name``) is a ``ValueError``.

    Its methods raise ``LowDisk`` where there is no room on this machine, ``PartInUse`` for a part twice.
    """

    def incoming(self, name: str, *, resume: bool = False) -> AbstractAsyncContextManager[Incoming]:
        """Take in a video called ``name``; without ``keep`` nothing of it remains.

        With ``resume`` it goes on with what an earlier try has left, in whatever process that was, and leaves what it
        has come to, with its note, to the next.
        """
        ...

    def unchecked(self, name: str) -> AbstractAsyncContextManager[Unchecked | None]:
        """A video that was settled and neither kept nor rejected, or None; it stays until it is either."""
        ...

    async def put(self, name: str, content: bytes) -> None:
        """Store something small beside the videos, whole or not at all."""
        ...

    async def forget(self, name: str) -> None:
        """Remove what has come so far of a video that nobody will go on with."""
        ...

    async def remove(self, name: str) -> None:
        """Remove a stored video and its poster; nothing where they are not there. Raises ``StorageTrouble``."""
        ...

    def unfinished(self) -> list[str]:
        """The names of the videos that something was left of, to be gone on with."""
        ...

    def so_far(self, name: str) -> int | None:
        """How many bytes of a video that is on its way are on this machine; None where there are none."""
        ...

    def free_bytes(self) -> int:
        """How much room there is where videos come in. Raises ``LowDisk`` where that cannot be told."""
        ...

    async def taken_in(self, name: str) -> Whole | None:
        """All of a video that came before, but whose ``keep`` failed or was not lived to be noted; to be kept again."""
        ...

    def has_waiting(self) -> bool:
        """Whether whole videos wait here for their ``keep``: room that work on them gives back."""
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

    def remove_rejected(self, *, before: datetime) -> int:
        """Remove what was put aside before then; how many. Raises ``StorageTrouble``."""
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


def poster_name(video: str) -> str:
    """The name of a video's poster, beside it."""
    return f"{video.removesuffix('.mp4')}.jpg"


def rejected_name(video: str) -> str:
    """The name of what came in place of a video, beside where it would be."""
    return f"{video}{REJECTED_SUFFIX}"


def job_of(video: str) -> str:
    """The job whose video has this name."""
    return video.rpartition("/")[2].removesuffix(".mp4")
