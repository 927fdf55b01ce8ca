"""Apprise to a service on loopback: its own URLs, its own sending, its own answers."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from replyhook_receiver.errors import NetworkTrouble
from tests.contracts.channel_contract import NOW, ChannelContract, Place, delivery, notification
from tests.receiver.support import Host, a_host, says, waits

pytest.importorskip("apprise", reason="an extra")

from replyhook_receiver.channels.apprise import AppriseChannel

PATH = "/geheim-token/"


@dataclass
class ServicePlace(Place):
    """A chat service: Apprise's json:// posts title and message."""

    host: Host
    refused: bool = False

    def arrived(self) -> list[str]:
        if self.refused:
            return []
        said = [json.loads(body) for _, _, _, body in self.host.seen]
        return [f"{each['title']}\n{each['message']}" for each in said]

    def refuse(self, how: str) -> None:
        self.host.will(PATH, says({"later": 503, "never": 410}[how], b"geheim-token"))
        self.refused = True

    def leave(self) -> None:
        self.url = "json://127.0.0.1:9/geheim-token/"


@asynccontextmanager
async def a_service(**options: float) -> AsyncIterator[ServicePlace]:
    async with a_host() as host:
        url = f"json://{host.will(PATH, says(200, b'ok')).removeprefix('http://')}"
        yield ServicePlace(channel=AppriseChannel(**options), url=url, secret="geheim-token", host=host)


class TestApprise(ChannelContract):
    impossible = ("", "https", "nonsense://x", "slack://", "x" * 100, "file:///etc/passwd", "tgram://")
    says_never = False

    def a_place(self, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
        del request
        return a_service()

    def check_harmless(self, arrived: str, words: str) -> None:
        assert all(letter.isprintable() or letter == "\n" for letter in arrived)
        assert "mallory" not in "".join(line for line in arrived.splitlines() if line.startswith("Bcc"))
        assert len(arrived) < 10_000
        assert len(arrived.splitlines()) < 30, words


async def test_a_service_that_never_answers_is_given_up_in_time() -> None:
    async with a_service(timeout_seconds=0.2) as place:
        place.host.will(PATH, waits(20, says(200)))
        begun = time.monotonic()
        with pytest.raises(NetworkTrouble, match="within"):
            await place.channel.send(delivery(place.url, notification()), now=NOW)
        assert time.monotonic() - begun < 10


async def test_its_urls_come_from_the_operator_alone() -> None:
    async with a_service() as place:
        assert place.channel.operator_only
