"""The process in which videos are looked into: bounded in memory and time, without secrets, at the end of two pipes.

It reads a line of JSON for each video and answers with one. It ends when nobody is there to ask.
"""

import base64
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from replyhook_receiver.errors import NotAVideo
from replyhook_receiver.media import VideoDetails, inspect, make_poster

try:
    import resource
except ImportError:  # Windows: the asker's patience is the only bound
    HAS_LIMITS = False
else:
    HAS_LIMITS = True

MEMORY_BYTES = 1024**3
"""What a look may take, beyond what the process has when it begins."""

_USUAL_GROWTH_BYTES = 128 * 1024**2
_WITHOUT_PROC_BYTES = 3 * 1024**3


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What a look at ``path`` found, with its poster; or why it is no video."""
    path = Path(question["path"])
    try:
        _allow_seconds(question["cpu_seconds"])
        details = inspect(path)
        poster = make_poster(path)
    except NotAVideo as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "the video needs more memory than a look at it may take"}
    except OSError as error:
        return {"trouble": type(error).__name__}
    return _described(details, poster)


def _described(details: VideoDetails, poster: bytes | None) -> dict[str, Any]:
    return {
        "duration_seconds": details.duration_seconds,
        "width": details.width,
        "height": details.height,
        "poster": None if poster is None else base64.b64encode(poster).decode(),
    }


def serve(asked: BinaryIO, told: BinaryIO) -> None:
    """Answer every question, until there are no more."""
    _bound_memory()
    begun_with = _resident_bytes()
    while line := asked.readline():
        found = answer(json.loads(line))
        found["is_large"] = _resident_bytes() - begun_with > _USUAL_GROWTH_BYTES  # then a new process is cheaper
        told.write(json.dumps(found).encode() + b"\n")
        told.flush()


def _bound_memory() -> None:
    if HAS_LIMITS:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            begun_with = pages * resource.getpagesize()
        except OSError:
            begun_with = _WITHOUT_PROC_BYTES
        _lower(resource.RLIMIT_AS, begun_with + MEMORY_BYTES)
        _lower(resource.RLIMIT_CORE, 0)


def _allow_seconds(seconds: int) -> None:
    """So much of a processor from now on; more of it ends the process."""
    if HAS_LIMITS:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _lower(limit: int, wanted: int) -> None:
    most = resource.getrlimit(limit)[1]
    resource.setrlimit(limit, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() if HAS_LIMITS else 0
    except OSError:
        return 0


def main() -> None:
    """Serve on the standard streams; what a decoder prints goes nowhere."""
    for each in (signal.SIGINT, signal.SIGTERM):  # meant for who asks, and a stop waits for a look that has begun
        signal.signal(each, signal.SIG_IGN)
    told = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, told)


if __name__ == "__main__":
    main()
