"""`replyhook` commands in processes of their own, forked from one that has imported the program, which takes longest.

A command gets its own arguments, environment, folder and streams, and ends as the interpreter ends. Where a terminal,
Python itself or the installed script is what is tested, ``subprocess`` is what to use.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import BinaryIO

from tests.forking import NUMBER

_NOT_OURS = ("REPLYHOOK_", "OTEL_", "PYTHONUNBUFFERED")
_OURS = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
"""What imports may read."""
PATIENCE = 60.0
_ordering = threading.Lock()


class Program:
    """A command that was started: of ``subprocess.Popen`` what our tests need."""

    def __init__(
        self,
        *arguments: str,
        env: dict[str, str],
        cwd: Path | None = None,
        stdin: BinaryIO | None = None,
        stdout: BinaryIO,
        stderr: BinaryIO,
    ) -> None:
        self.args = ["replyhook", *arguments]
        self.returncode: int | None = None
        folder = os.fspath(cwd or Path.cwd())
        if not os.path.isdir(folder):
            raise NotADirectoryError(folder)
        order = json.dumps({"arguments": arguments, "env": env, "cwd": folder}).encode()
        ours, theirs = socket.socketpair()
        with theirs, open(os.devnull, "rb") as nothing:
            streams = [(stdin or nothing).fileno(), stdout.fileno(), stderr.fileno()]
            with _ordering:
                orders = _forker()
                socket.send_fds(orders, [NUMBER.pack(len(order))], [*streams, theirs.fileno()])
                orders.sendall(order)
        self._told = ours
        self.pid = self._number()

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, as soon as it has ended."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], seconds)[0]:
            self.returncode = self._number()
            self._told.close()
        return self.returncode

    def _number(self) -> int:
        told = self._told.recv(NUMBER.size, socket.MSG_WAITALL)
        assert told, "the process that forks our commands has ended"
        return int(NUMBER.unpack(told)[0])

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    *arguments: str, env: dict[str, str], cwd: Path | None = None, stdin: bytes = b"", timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """A command, from its beginning to its end; as ``subprocess.run`` tells it, but that line ends stay as they are."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        program = Program(*arguments, env=env, cwd=cwd, stdin=given, stdout=out, stderr=err)
        try:
            code = program.wait(timeout)
        except BaseException:
            program.kill()
            program.wait()
            raise
        for each in (out, err):
            each.seek(0)
        return subprocess.CompletedProcess(program.args, code, out.read().decode(), err.read().decode())


def run_anew(
    *arguments: str, env: dict[str, str], cwd: Path | None = None, stdin: bytes = b"", timeout: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """The same in an interpreter that begins: it proves that the command imports what it needs."""
    command = [sys.executable, "-m", "replyhook_receiver", *arguments]
    done = subprocess.run(command, env=env, cwd=cwd, input=stdin, capture_output=True, timeout=timeout, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


@cache
def _forker() -> socket.socket:
    """Where orders go to, until our own end."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(theirs.fileno())],
            env=_OURS, cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
        )  # fmt: skip

    def end() -> None:
        ours.close()
        process.wait(timeout=PATIENCE)

    atexit.register(end)
    return ours
