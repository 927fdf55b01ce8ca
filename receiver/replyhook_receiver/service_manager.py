"""What a service manager hands to a process and hears of it: systemd's socket activation and its notifications.

https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html and sd_notify.html (read 2026-11-21).
"""

import os
import socket
from collections.abc import Callable, MutableMapping

from replyhook.errors import ConfigurationError

READY, STOPPING = "READY=1", "STOPPING=1"
_FIRST = 3
_HANDED_OVER = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

Tell = Callable[[str], None]


def inherited_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that was handed to this process, or None. It is taken out of ``environ``: no child has it.

    Whoever handed it over keeps it open, so that connections wait while nobody serves it. Raises
    ``ConfigurationError`` where something else was handed over than one listening TCP socket.
    """
    count, pid, *_ = [environ.pop(name, "") for name in _HANDED_OVER]
    if pid != str(os.getpid()) or count in ("", "0"):
        return None  # nothing, or meant for the process that started us
    if count != "1":
        raise ConfigurationError(
            f"LISTEN_FDS={count!r}: one listening socket can be served. Keep one ListenStream= in the .socket unit"
        )
    try:
        os.set_inheritable(_FIRST, False)
        found = socket.socket(fileno=_FIRST)
        if _listens(found):
            return found
    except OSError:
        pass  # nothing is open there, or a file
    raise ConfigurationError(
        f"file descriptor {_FIRST}, of LISTEN_FDS, is no listening TCP socket: write an address and a port into the "
        ".socket unit, such as ListenStream=127.0.0.1:8080, with Accept=no"
    )


def _listens(found: socket.socket) -> bool:
    of_tcp = found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM
    return of_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


def teller(environ: MutableMapping[str, str]) -> Tell:
    """Tells the service manager how the process is, as far as one listens at NOTIFY_SOCKET; never raises.

    The variable is taken out of ``environ``: only this process speaks for the service.
    """
    place = environ.pop("NOTIFY_SOCKET", "")
    address = "\0" + place[1:] if place.startswith("@") else place

    def tell(state: str) -> None:
        if not address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaking:
                speaking.settimeout(1)
                speaking.sendto(state.encode(), address)
        except OSError:
            return  # whoever started us is gone, or hears nothing: the callbacks are what matters

    return tell
