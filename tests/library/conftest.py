"""Both clients against one imitation of the receiver and the providers."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from replyhook import AsyncClient, Client
from tests.library.loopback import World, loopback

FAL: dict[str, Any] = {"provider": "fal", "video": "https://a.example/in.mp4", "prompt": "a boat turns"}
"""The least that a submit to fal needs."""


class Driver:
    """Either client behind plain calls: ``drive(job.wait())`` is the result, whichever client made the job."""

    def __init__(self, kind: str) -> None:
        self.kind: type[Any] = {"plain": Client, "async": AsyncClient}[kind]
        self._runner = asyncio.Runner() if kind == "async" else None
        self._clients: list[Any] = []

    def __call__(self, made: Any) -> Any:
        return self._runner.run(made) if self._runner else made

    def all(self, made: Any) -> list[Any]:
        """All that an iterator gives, plain or async."""

        async def listed() -> list[Any]:
            return [each async for each in made]

        return self._runner.run(listed()) if self._runner else list(made)

    def client(self, **settings: Any) -> Any:
        """A client that is closed when the test ends."""
        return self.opened(self.kind(**settings))

    def opened(self, client: Any) -> Any:
        """The client, closed when the test ends."""
        self._clients.append(client)
        return client

    def pause(self, seconds: float) -> None:
        """Let time pass, on the loop where there is one."""
        asyncio.run(asyncio.sleep(seconds)) if self._runner is None else self._runner.run(asyncio.sleep(seconds))

    def close(self) -> None:
        for client in self._clients:
            self(client.close())
        if self._runner:
            self._runner.close()


@pytest.fixture(scope="module")
def fresh_world() -> Iterator[Callable[[], World]]:
    with loopback() as fresh:
        yield fresh


@pytest.fixture
def world(fresh_world: Callable[[], World]) -> World:
    return fresh_world()


@pytest.fixture(params=["plain", "async"])
def drive(request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = Driver(request.param)
    yield driver
    driver.close()


@pytest.fixture
def client(drive: Driver, world: World) -> Any:
    """A client of this world: its receiver, and both providers."""
    return drive.client(
        receiver_url=world.url,
        api_key="rk-geheim",
        provider_keys={"fal": "sk-geheim", "useapi": "ua-geheim"},
        providers={
            "fal": {"base_url": f"{world.url}/fal", "rest_url": f"{world.url}/rest"},
            "useapi": {"base_url": f"{world.url}/useapi"},
        },
    )


@pytest.fixture
def job(drive: Driver, client: Any) -> Any:
    """A job that the provider has accepted."""
    return drive(client.submit(**FAL))
