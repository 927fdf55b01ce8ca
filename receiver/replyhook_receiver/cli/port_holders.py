"""Which process listens on a port, where the system tells (Linux, and a process of the same user)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from replyhook_receiver.cli.harmless import harmless

_LISTENING = "0A"


def who_listens_on(port: int) -> str | None:
    """Its name and number, or None where that cannot be told."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_leads_to(entry) in sockets for entry in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{harmless(name, longest=32)} (process {process.name})"
    return None


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _leads_to(link: Path) -> str:
    with contextlib.suppress(OSError):
        return str(link.readlink())
    return ""
