"""A process that has imported the program and forks one for each command: tests/program.py starts it."""

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

NUMBER = struct.Struct("!i")
"""An order's length, before it, with the descriptors of the command's three streams and of the socket that is told of
its process: the id, and how it ended."""
_NOT_IMPORTED = ("__main__", "bench", "exporting")
"""The first is run; the others bring much that few commands need."""


@dataclass
class Forker:
    """It takes orders one after another, and tells of each its process's id, and how that ended."""

    orders: socket.socket
    ends: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    """A byte comes out of the first when a process has ended."""
    told: dict[int, int] = field(default_factory=dict)
    """By a process's id, the socket that its end is told to."""

    def order(self) -> dict[str, Any] | None:
        """The next command, in the process that is to run it; None at the end."""
        for end in self.ends:
            end.setblocking(False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.ends[1].fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self.orders, self.ends[0]], [], [])
            if self.ends[0] in ready:
                self._tell_of_ends()
            if self.orders in ready:
                head, descriptors, _, _ = socket.recv_fds(self.orders, NUMBER.size, 4)
                if not head:
                    return None
                order: dict[str, Any] = json.loads(self._received(*NUMBER.unpack(head)))
                if self._is_in_a_fork(descriptors):
                    return order

    def _received(self, length: int) -> bytes:
        text = b""
        while len(text) < length and (more := self.orders.recv(length - len(text))):
            text += more
        return text

    def _is_in_a_fork(self, descriptors: list[int]) -> bool:
        *streams, teller = descriptors
        pid = os.fork()
        if pid == 0:
            self._leave_nothing(streams, teller)
            return True
        for stream in streams:
            os.close(stream)
        self.told[pid] = teller
        self._tell(teller, pid)
        return False

    def _leave_nothing(self, streams: list[int], teller: int) -> None:
        """In the fork: the streams are its own, and it has nothing of ours."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for standard, stream in enumerate(streams):
            os.dup2(stream, standard)
        for descriptor in (*streams, teller, *self.told.values()):
            os.close(descriptor)
        for each in (self.orders, *self.ends):
            each.close()

    def _tell_of_ends(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.ends[0].recv(4096)
        while self.told:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            teller = self.told.pop(pid)
            self._tell(teller, os.waitstatus_to_exitcode(status))
            os.close(teller)

    def _tell(self, teller: int, number: int) -> None:
        with contextlib.suppress(OSError):  # nobody asks any more
            os.write(teller, NUMBER.pack(number))


def import_the_program() -> None:
    """All that its commands import one day; it must not begin a thread, which no fork would have."""
    import replyhook_receiver

    for module in pkgutil.walk_packages(replyhook_receiver.__path__, "replyhook_receiver."):
        if not set(_NOT_IMPORTED).intersection(module.name.split(".")):
            with contextlib.suppress(ModuleNotFoundError):  # an extra that is not installed
                importlib.import_module(module.name)
    assert threading.active_count() == 1
    tasks = "/proc/self/task"
    assert not os.path.isdir(tasks) or len(os.listdir(tasks)) == 1, "an import has begun a thread"
    gc.collect()
    gc.freeze()


def leave(codes: list[int]) -> None:
    """What runs last at an exit that is in order: all is done but to free the memory, which would copy it first."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


def main() -> None:
    """As `python -m replyhook_receiver`, in a fork; it ends as the interpreter ends."""
    codes: list[int] = []
    atexit.register(leave, codes)  # the first to be registered is the last to be called
    sys.path.pop(0)  # the folder that we were started in
    import_the_program()
    order = Forker(socket.socket(fileno=int(sys.argv[1]))).order()
    if order is None:
        return
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    os.chdir(order["cwd"])
    sys.path.insert(0, order["cwd"])
    sys.argv[1:] = order["arguments"]
    try:
        runpy.run_module("replyhook_receiver", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        codes.extend([end.code] if isinstance(end.code, int) else [])
        raise
    codes.append(0)


if __name__ == "__main__":
    main()
