"""What the receiver's tests share: a host on loopback, a running receiver, a real video."""

import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

import pytest

from replyhook_receiver.channels import registry
from replyhook_receiver.sandbox.video import make_clip
from tests.receiver.object_store import CREDENTIALS, ObjectServer, an_object_server
from tests.receiver.postgres_server import PostgreSQLServer, a_postgres_server
from tests.receiver.support import Host, Receiver, a_host, a_receiver


@pytest.fixture(scope="session", autouse=True)
def _installed_packages() -> Iterator[None]:
    """Look once for the channels that other packages add: going through all of them is half of a receiver's start.

    A test that installs one on a path of its own has it found.
    """
    path, found = list(sys.path), entry_points(group=registry.GROUP)

    def once(*, group: str) -> EntryPoints:
        return found if sys.path == path and group == registry.GROUP else entry_points(group=group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", once)
        yield


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with a_host() as running:
        yield running


@pytest.fixture
async def receiver(tmp_path: Path, host: Host) -> AsyncIterator[Receiver]:
    async with a_receiver(tmp_path, host) as running:
        yield running


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole MP4 video of one second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_clip(path, seconds=1, width=64, height=36, fps=10)
    return path.read_bytes()


@pytest.fixture(scope="session")
def _object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with an_object_server(tmp_path_factory.mktemp("weed")) as running:
        yield running


@pytest.fixture
def object_server(_object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """A real S3 server, with its credentials where a receiver looks for them."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return _object_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQLServer]:
    """A real PostgreSQL, one for each of the processes that test."""
    with a_postgres_server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_server: PostgreSQLServer) -> Iterator[str]:
    """A database of its own in it, with the schema."""
    url = postgres_server.new_store()
    yield url
    postgres_server.drop(url)
