"""One real server for each file of attacks, and a stranger who attacks it."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hostile.stranger import Served, Stranger, a_served_receiver


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """As everywhere, but for a whole file, so that its server runs as long."""
    return "asyncio"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    async with a_served_receiver(folder) as running:
        yield running


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All there is to log, but for what ``configure_logging`` keeps quiet at every level."""
    for name in ("httpx", "httpcore", "aiosqlite", "sse_starlette"):
        caplog.set_level(logging.WARNING, logger=name)
    caplog.set_level(logging.DEBUG)  # the last one is the handler's too
    return caplog


@pytest.fixture
def stranger(served: Served, log: pytest.LogCaptureFixture) -> Stranger:
    return Stranger(served=served, log=log)
