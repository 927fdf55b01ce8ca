"""Who serves a database: one process at a time, by an OS lock on a file beside it that ends with the process."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from replyhook.errors import ConfigurationError

_SUFFIX = ".lock"
_TRIES, _PAUSE_SECONDS = 10, 0.1  # who only looks holds the lock for a moment
_MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that serves a database, as far as it has told: where it listens, and its instance's token."""

    pid: int | None = None
    url: str = ""
    since: str = ""
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        where = f", listening on {self.url}" if self.url else ""
        since = f", since {self.since}" if self.since else ""
        return f"process {self.pid or 'unknown'}{where}{since}"


class Hold:
    """The lock, held."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def tell(self, *, url: str, token: str) -> None:
        """Let whoever may read the file know who holds it. A disk that takes nothing does not matter here."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        content = json.dumps({"pid": os.getpid(), "url": url, "since": since, "token": token})
        with contextlib.suppress(OSError):
            self._file.truncate(0)
            self._file.seek(0)
            self._file.write(content.encode())
            self._file.flush()


@contextmanager
def held(database: Path) -> Iterator[Hold]:
    """Be the one process that serves ``database`` while the context lasts.

    Raises ``ConfigurationError`` where another is, or where no lock can be had. What is left of a killed process is a
    file, and no lock.
    """
    path = lock_path(database)
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise ConfigurationError(
            f"the folder {database.parent} cannot be written ({error.strerror}): the receiver keeps its database "
            "there. Make it writable for this user, or name another with --data-dir"
        ) from error
    with file:
        if not _locked(file, path):
            raise ConfigurationError(
                f"the database {database} is served already by {_read(file)}. One process serves one file: stop that "
                "one, or give this one a folder of its own with --data-dir"
            )
        hold = Hold(file)
        hold.tell(url="", token="")
        yield hold


def holder_of(database: Path) -> Holder | None:
    """Who serves ``database``, or None where nobody does. Raises ``OSError`` where that cannot be told."""
    try:
        file = lock_path(database).open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(file)
        return None


def lock_path(database: Path) -> Path:
    """The file beside ``database`` that is locked."""
    return database.with_name(database.name + _SUFFIX)


def _locked(file: BinaryIO, path: Path) -> bool:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _TRIES:
                time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be locked ({error.strerror}): is it on a network file system? Move data_dir to a "
                "local disk"
            ) from error
        else:
            return True
    return False


def _read(file: BinaryIO) -> Holder:
    file.seek(0)
    try:
        told = json.loads(file.read(_MAX_BYTES))
        return Holder(pid=int(told["pid"]), url=str(told["url"]), since=str(told["since"]), token=str(told["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()
