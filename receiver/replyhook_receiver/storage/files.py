"""Reading a file on this machine: in parts, and its digest."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from anyio import to_thread

from replyhook_receiver.errors import StorageTrouble

_CHUNK_BYTES = 256 * 1024


class KeptFile:
    """A video that stands whole under its name already: to keep it again is to look at it again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    async def keep(self) -> str:
        """Its SHA-256."""
        return await to_thread.run_sync(sha256_of, self.path)


async def read_file(path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    """A file's bytes from ``start`` up to ``stop``. Raises ``StorageTrouble`` where they are not there."""
    try:
        with await to_thread.run_sync(path.open, "rb") as file:
            await to_thread.run_sync(file.seek, start)
            left = stop - start
            while left > 0:
                chunk = await to_thread.run_sync(file.read, min(left, _CHUNK_BYTES))
                if not chunk:
                    raise StorageTrouble("a stored video is shorter than it was")
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise StorageTrouble(f"a stored video cannot be read ({type(error).__name__})") from None


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
