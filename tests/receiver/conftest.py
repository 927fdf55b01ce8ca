"""What the receiver's tests share: a host on loopback, a running receiver, a real video."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replyhook_receiver.sandbox.video import make_clip
from tests.receiver.support import Host, Receiver, a_host, a_receiver


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
