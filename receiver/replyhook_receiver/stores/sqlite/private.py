"""A new database file is made for its owner alone, whatever the folder and the umask let others read."""

import contextlib
import os
from pathlib import Path


def make_private(path: Path) -> None:
    """Make the file, empty, where there is none; SQLite gives its log and index the same mode.

    One that is there is not even opened: closing it would take away the locks that this process has on it. What stands
    in the way is left for SQLite to say.
    """
    if os.fspath(path) == ":memory:":  # no file: SQLite's name for none
        return
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
