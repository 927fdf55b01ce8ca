"""What the fault tests share: the providers, and the video they make."""

from collections.abc import AsyncIterator, Iterator

import pytest

from replyhook_receiver.sandbox.video import make_clip
from tests.faults.providers import Providers
from tests.receiver.postgres_server import PostgreSQLServer, a_postgres_server
from tests.receiver.support import Host, a_host


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole MP4 video of one second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    make_clip(path, seconds=1, width=64, height=36, fps=10)
    return path.read_bytes()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with a_host() as running:
        yield running


@pytest.fixture
async def providers(host: Host, clip: bytes) -> Providers:
    return Providers(host=host, clip=clip)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQLServer]:
    """A real PostgreSQL, which a test may stop and start again."""
    with a_postgres_server() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_server: PostgreSQLServer) -> Iterator[str]:
    """A database of its own in it, with the schema."""
    url = postgres_server.new_store()
    yield url
    postgres_server.drop(url)
