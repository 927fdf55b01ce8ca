"""Whether the files that are written are still those at their paths: SQLite would not notice if they were not."""

import os
from pathlib import Path

from replyhook_receiver.errors import StoreUnavailable


class Files:
    """The database and its write-ahead log, as they were when they were opened.

    A file that is deleted, moved or replaced while it is open goes on taking writes and syncs, and all of it is gone
    with the process. Nothing can be done then but to say so, and to take no more.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (os.fspath(path), f"{os.fspath(path)}-wal")
        self._known = self._look()

    def check(self) -> None:
        """Raise ``StoreUnavailable`` when one of the files is not at its path any more."""
        try:
            is_so = self._look() == self._known
        except OSError:
            is_so = False
        if not is_so:
            raise StoreUnavailable("the database's files were removed or replaced while it was open: restart")

    def _look(self) -> list[tuple[int, int]]:
        return [(found.st_dev, found.st_ino) for found in map(os.stat, self._paths)]
