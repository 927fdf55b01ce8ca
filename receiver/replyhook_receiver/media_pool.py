"""Looking inside videos that come from outside: in a process of its own, which a hostile one may bring down.

A decoder may be talked into taking all memory there is, or into a fault. A few processes are kept warm (starting one
costs as much as a hundred looks); they get neither our environment nor our sockets.
"""

import atexit
import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from replyhook_receiver.errors import NotAVideo, StorageTrouble
from replyhook_receiver.media import HAS_PYAV, VideoDetails, inspect

AT_A_TIME = 2
_LOOKS = 500
_SECONDS = 20
_CPU_SECONDS = 20
_BYTES_PER_SECOND = 16 * 1024**2
_CPU_BYTES_PER_SECOND = 64 * 1024**2
_ANSWER_BYTES = 8 * 1024**2


class _Child:
    """One process that looks, for as many videos as it is good for."""

    def __init__(self) -> None:
        self._left = _LOOKS
        inherited = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "replyhook_receiver.media_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=True,
            )
        except OSError as error:
            raise StorageTrouble(f"no process to look into a video could be started ({type(error).__name__})") from None

    @property
    def is_good(self) -> bool:
        """Whether it may be asked another time."""
        return self._left > 0 and self._process.poll() is None

    def ask(self, path: Path) -> dict[str, Any]:
        """What it says of a video. Raises ``NotAVideo`` where it does not live to tell, or takes too long."""
        size = path.stat().st_size
        question = {"path": str(path.resolve()), "cpu_seconds": _CPU_SECONDS + size // _CPU_BYTES_PER_SECOND}
        self._left -= 1
        is_late = threading.Event()
        patience = threading.Timer(_SECONDS + size / _BYTES_PER_SECOND, self._kill_late, (is_late,))
        patience.daemon = True
        patience.start()
        try:
            line = self._tell(json.dumps(question).encode() + b"\n")
        finally:
            patience.cancel()
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            self.end()
            why = "takes too long" if is_late.is_set() else "needs more memory or time than it may, or breaks a decoder"
            raise NotAVideo(f"a look at what came {why}") from None
        if found["is_large"]:
            self._left = 0
        return found

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def end(self) -> None:
        """Let it go, and leave nothing of it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it was still to be asked
                    pipe.close()
        self._process.wait()

    def _tell(self, line: bytes) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - both are pipes
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            return self._process.stdout.readline(_ANSWER_BYTES)
        except OSError:
            return b""

    def _kill_late(self, is_late: threading.Event) -> None:
        is_late.set()
        self._process.kill()


_places = threading.BoundedSemaphore(AT_A_TIME)
_idle: list[_Child] = []  # append and pop are safe among threads


class Look:
    """One look, which a thread waits for and another may end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._child: _Child | None = None
        self._is_stopped = False
        self._changing = threading.Lock()

    def __call__(self) -> tuple[VideoDetails, bytes | None]:
        """What is inside, and a poster. Raises ``NotAVideo``; ``StorageTrouble`` where no look can be had now."""
        if not HAS_PYAV:  # nothing is decoded
            return inspect(self._path), None
        with _places:
            found = self._asked()
        if "refused" in found:
            raise NotAVideo(found["refused"])
        if "trouble" in found:
            raise StorageTrouble(f"what came could not be read again ({found['trouble']})")
        details = VideoDetails(duration_seconds=found["duration_seconds"], width=found["width"], height=found["height"])
        return details, None if found["poster"] is None else base64.b64decode(found["poster"])

    def stop(self) -> None:
        """End it, if it has not ended: a thread that waits would keep our process from ending."""
        with self._changing:
            self._is_stopped = True
            if self._child is not None:
                self._child.kill()

    def _asked(self) -> dict[str, Any]:
        with self._changing:
            if self._is_stopped:
                raise StorageTrouble("the look inside was stopped")
            child = self._child = _taken()
        try:
            return child.ask(self._path)
        finally:
            with self._changing:
                self._child = None
            if child.is_good and not self._is_stopped:
                _idle.append(child)
            else:
                child.end()


def look(path: Path) -> tuple[VideoDetails, bytes | None]:
    """A look that nobody ends."""
    return Look(path)()


def _taken() -> _Child:
    while _idle:
        child = _idle.pop()
        if child.is_good:
            return child
        child.end()
    return _Child()


def warm_up() -> None:
    """Start the processes now, without waiting for them: else the first videos would wait for what they load."""
    if HAS_PYAV:
        with contextlib.suppress(StorageTrouble):  # the first look says it, where that matters
            while len(_idle) < AT_A_TIME:
                _idle.append(_Child())


def let_go() -> None:
    """End the processes that wait for videos; the next video starts one again."""
    while _idle:
        _idle.pop().end()


atexit.register(let_go)
