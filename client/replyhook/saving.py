"""A file that appears whole under its name or not at all."""

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from replyhook.errors import UnreadableMessage


class PartFile:
    """Written beside ``path`` as ``path.part``; ``keep`` checks it and gives it its name, anything else removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._hash = hashlib.sha256()
        self.size = 0
        """The bytes written so far."""

    def __enter__(self) -> "PartFile":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._part.open("wb")
        return self

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def keep(self, headers: Mapping[str, str]) -> None:
        """Check length and digest (RFC 9530 ``Repr-Digest``) against the answer's headers, then take the name.

        Raises ``UnreadableMessage`` when either differs: the file is not kept.
        """
        length = headers.get("content-length")
        if length is not None and "content-encoding" not in headers and length != str(self.size):
            raise UnreadableMessage(f"the video was cut off after {self.size} of {length} bytes")
        digest = f"sha-256=:{base64.b64encode(self._hash.digest()).decode()}:"
        if headers.get("repr-digest", digest) != digest:
            raise UnreadableMessage("the video's bytes do not match the digest that came with them")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
