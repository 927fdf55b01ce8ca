"""A media host for the download bench, in a process of its own: one large file, sent by the kernel, Range honoured.

It says its port on its standard output and ends with its input.
"""

import re
import socket
import sys
import tempfile
import threading

_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-\r\n", re.IGNORECASE)
_START = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"


def _answer(connection: socket.socket, path: str, size: int) -> None:
    with connection, open(path, "rb") as file:
        while head := _head(connection):
            found = _RANGE.search(head)
            start = int(found[1]) if found else 0
            status = b"206 Partial Content" if found else b"200 OK"
            headers = [b"HTTP/1.1 " + status, b'etag: "one"', b"content-length: %d" % (size - start)]
            if found:
                headers.append(b"content-range: bytes %d-%d/%d" % (start, size - 1, size))
            try:
                connection.sendall(b"\r\n".join([*headers, b"", b""]))
                connection.sendfile(file, start)
            except ConnectionError:
                return


def _head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            received = connection.recv(65536)
        except ConnectionError:
            return b""
        if not received:
            return b""
        head += received
    return head


def main(size: int) -> None:
    """Serve a file of ``size`` bytes until the input ends."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as listening:
        file.write(_START)
        file.truncate(size)  # the rest are zeros that take no room
        file.flush()

        def accept() -> None:
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=_answer, args=(connection, file.name, size), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        print(listening.getsockname()[1], flush=True)  # noqa: T201 - this is what it is for
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
