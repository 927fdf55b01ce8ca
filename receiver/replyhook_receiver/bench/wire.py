"""A wire to PostgreSQL with a delay each way, since on loopback a round trip is next to nothing.

`python -m replyhook_receiver.bench.wire PORT SECONDS` listens on a free port of loopback, which it prints, passes on to
``PORT`` what comes, each way after ``SECONDS``, and ends with its standard input.
"""

import contextlib
import queue
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_CHUNK = 65_536


@contextmanager
def wire(url: str, *, round_trip_ms: float) -> Iterator[str]:
    """The same PostgreSQL by a longer way, while the context lasts."""
    port = urlsplit(url).port
    program = [sys.executable, "-m", __name__, str(port), str(round_trip_ms / 2_000)]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
    try:
        assert process.stdout is not None  # noqa: S101 - it was started with one
        listens = process.stdout.readline().decode().strip()
        yield re.sub(rf":{port}(?=/|$|\?)", f":{listens}", url, count=1)
    finally:
        process.kill()
        process.communicate()


def _join(caller: socket.socket, port: int, delay: float) -> None:
    served = socket.create_connection(("127.0.0.1", port))
    for end in (caller, served):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for source, target in ((caller, served), (served, caller)):
        held: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=_take, args=(source, held, delay), daemon=True).start()
        threading.Thread(target=_bring, args=(held, target), daemon=True).start()


def _take(source: socket.socket, held: "queue.SimpleQueue[tuple[float, bytes]]", delay: float) -> None:
    data = b"."
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        held.put((time.perf_counter() + delay, data))


def _bring(held: "queue.SimpleQueue[tuple[float, bytes]]", target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = held.get()
            time.sleep(max(0.0, due - time.perf_counter()))
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)


def _listen(port: int, delay: float) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        caller, _ = listening.accept()
        _join(caller, port, delay)


if __name__ == "__main__":
    threading.Thread(target=_listen, args=(int(sys.argv[1]), float(sys.argv[2])), daemon=True).start()
    sys.stdin.read()
