"""Which channels there are, and the README's own third-party channel, installed as a package would be."""

import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook_receiver.channels.base import Channel
from replyhook_receiver.channels.registry import Channels, make_channels
from replyhook_receiver.errors import ChannelTrouble
from replyhook_receiver.net import Door
from tests.contracts.channel_contract import NOW, ChannelContract, Place, delivery, notification
from tests.receiver.support import WHSEC, settings_for

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def install(folder: Path, name: str, module: str, source: str) -> None:
    """A package as pip leaves it: its module and its metadata with the entry point."""
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[replyhook.channels]\n{name} = {module}:make_channel\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages can be installed into."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


def readme_channel() -> str:
    found = re.search(r"<!-- channel -->\n```python\n(.*?)```", README, flags=re.DOTALL)
    assert found
    return found[1]


def make(tmp_path: Path, **more: Any) -> Channels:
    return make_channels(settings_for(tmp_path, **more), door=Door(), secrets=(WHSEC,))


@dataclass
class FilePlace(Place):
    """A file that lines are appended to."""

    folder: Path

    def arrived(self) -> list[str]:
        path = self.folder / "geheim.log"
        return path.read_text().splitlines() if path.exists() else []

    def refuse(self, how: str) -> None:
        del how
        self.leave()

    def leave(self) -> None:
        self.url = "file:gone/geheim.log"


class TestTheReadmesChannel(ChannelContract):
    impossible = ("", "file:", "file:../geheim.log", "https://x.example")
    says_never = False

    def a_place(self, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
        packages, folder = request.getfixturevalue("packages"), request.getfixturevalue("tmp_path")
        install(packages, "logfile", "replyhook_logfile", readme_channel())

        @asynccontextmanager
        async def installed() -> AsyncIterator[Place]:
            channels = make(folder, channels={"logfile": {"folder": str(folder)}})
            yield FilePlace(channel=channels["logfile"], url="file:geheim.log", secret="geheim", folder=folder)

        return installed()

    def check_harmless(self, arrived: str, words: str) -> None:
        del words
        assert arrived.isprintable()


def test_a_channel_whose_settings_are_wrong_is_said_at_the_start_without_their_values(
    tmp_path: Path, packages: Path
) -> None:
    install(packages, "bad", "replyhook_bad", "def make_channel(settings):\n    raise ValueError('geheim')\n")
    with pytest.raises(ConfigurationError, match=r"channels\.bad") as caught:
        make(tmp_path)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("name", ["webhook", "email", "apprise"])
def test_no_package_replaces_a_channel_of_ours(tmp_path: Path, packages: Path, name: str) -> None:
    install(packages, name, "replyhook_thief", "def make_channel(settings):\n    return None\n")
    with pytest.raises(ConfigurationError, match="replyhook_thief"):
        make(tmp_path)


def test_settings_of_a_channel_that_nobody_adds_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"channels\.logfil"):
        make(tmp_path, channels={"logfil": {}})


async def test_what_another_packages_channel_raises_is_not_shown(tmp_path: Path, packages: Path) -> None:
    source = """
class Broken:
    operator_only = False
    async def check(self, url):
        raise KeyError(url)
    async def send(self, delivery, *, now):
        if delivery.target.url == "none":
            return None
        raise KeyError(delivery.target.url)
def make_channel(settings):
    return Broken()
"""
    install(packages, "broken", "replyhook_broken", source)
    channel: Channel = make(tmp_path)["broken"]
    with pytest.raises(ChannelTrouble) as caught:
        await channel.send(delivery("geheim", notification()), now=NOW)
    assert (caught.value.retryable, "geheim" in str(caught.value)) == (True, False)
    with pytest.raises(InvalidRequest) as refused:
        await channel.check("geheim")
    assert "geheim" not in str(refused.value)
    assert (await channel.send(delivery("none", notification()), now=NOW)).status is None


async def test_a_channel_that_is_not_set_up_says_what_it_needs_and_its_deliveries_wait(tmp_path: Path) -> None:
    channels = make(tmp_path)
    with pytest.raises(InvalidRequest, match="smtp_host"):
        await channels.check("email", "mailto:jane@example.com")
    with pytest.raises(ChannelTrouble, match="smtp_host") as caught:
        await channels["email"].send(delivery("mailto:jane@example.com", notification()), now=NOW)
    assert caught.value.retryable
