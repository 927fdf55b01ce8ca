"""Which channels there are: ours, as far as they are set up, and those that other packages add."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from replyhook.errors import ConfigurationError, InvalidRequest, ReplyhookError
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.base import Channel, Poster
from replyhook_receiver.channels.email import EmailChannel, MailServer
from replyhook_receiver.channels.webhook import WebhookChannel
from replyhook_receiver.config import Settings
from replyhook_receiver.endpoint_rules import APPRISE, EMAIL, WEBHOOK, shown_endpoint_url
from replyhook_receiver.errors import ChannelTrouble, NetworkRefused, NetworkTrouble, ReceiverTrouble
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.net import NOT_PUBLIC, Door
from replyhook_receiver.records import DeliveryRecord

GROUP = "replyhook.channels"
TIMEOUT_SECONDS = 25.0
_HOW_TO_HAVE = {
    EMAIL: "set smtp_host and smtp_from",
    APPRISE: f"{how_to_install('apprise')}, and name its endpoints in the settings",
}

_log = logging.getLogger(__name__)


class Channels(Mapping[str, Channel]):
    """The channels by name. One that is not there is a channel too: one that raises and says what it needs."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = dict(channels)

    def __getitem__(self, name: str) -> Channel:
        return self._channels.get(name) or _Missing(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._channels)

    def __len__(self) -> int:
        return len(self._channels)

    def __contains__(self, name: object) -> bool:
        return name in self._channels

    async def check(self, channel: str, url: str, *, from_settings: bool = False, field: str = "url") -> None:
        """Raise ``InvalidRequest`` for a place that we would never send to, or that only the operator may name."""
        if channel not in self:
            raise InvalidRequest(
                "channel", channel, f"one that is set up here: {', '.join(sorted(self))}; {_need(channel)}"
            )
        if self[channel].operator_only and not from_settings:
            raise InvalidRequest("channel", channel, "it guards no addresses, so its URLs come from the settings alone")
        try:
            await self[channel].check(url)
        except NetworkRefused as error:
            may_be_excepted = NOT_PUBLIC in str(error)
            more = ". An operator excepts private networks by REPLYHOOK_ALLOWED_NETWORKS on the receiver"
            allowed = f"{error}{more if may_be_excepted else ''}"
            raise InvalidRequest(field, shown_endpoint_url(channel, url), allowed) from None


class _Missing:
    """A channel that is not set up here, though an endpoint wants it: its deliveries wait for it."""

    operator_only = True

    def __init__(self, name: str) -> None:
        self._words = f"there is no channel {name!r} here: {_need(name)}"

    async def check(self, url: str) -> None:  # noqa: ARG002 - the protocol's
        raise ChannelTrouble(self._words)

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:  # noqa: ARG002
        raise ChannelTrouble(self._words)


class _Guest:
    """Another package's channel: bounded in time, and what it raises is not shown, since it may hold the URL."""

    def __init__(self, name: str, channel: Channel) -> None:
        self._name = name
        self._channel = channel

    @property
    def operator_only(self) -> bool:
        return self._channel.operator_only

    async def check(self, url: str) -> None:
        try:
            await self._channel.check(url)
        except (ReceiverTrouble, ReplyhookError):
            raise
        except Exception as error:
            raise InvalidRequest(
                "url", "(not shown)", f"what the channel {self._name} takes ({type(error).__name__})"
            ) from None

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                said: object = await self._channel.send(delivery, now=now)
        except (ReceiverTrouble, ReplyhookError):
            raise
        except TimeoutError:
            raise NetworkTrouble(f"the channel {self._name} did not end within {TIMEOUT_SECONDS:g} s") from None
        except Exception as error:
            raise ChannelTrouble(f"the channel {self._name} failed ({type(error).__name__})") from None
        return said if isinstance(said, Answer) else Answer(status=None)


def make_channels(settings: Settings, *, door: Door, secrets: Sequence[str], poster: Poster | None = None) -> Channels:
    """Every channel that is set up. Raises ``ConfigurationError``."""
    channels: dict[str, Channel] = {WEBHOOK: WebhookChannel(door=door, secrets=secrets)}
    server = mail_server(settings)
    if server is not None:
        channels[EMAIL] = EmailChannel(server=server, poster=poster)
    is_wanted = any(endpoint.wanted().channel == APPRISE for endpoint in settings.endpoints)
    if is_wanted and find_spec("apprise") is not None:  # it takes long to load
        from replyhook_receiver.channels.apprise import AppriseChannel

        channels[APPRISE] = AppriseChannel()
    for name, factory in _installed().items():
        channels[name] = _made(name, factory, settings.channels.get(name, {}))
    unknown = sorted(set(settings.channels) - set(channels))
    if unknown:
        raise ConfigurationError(f"channels.{unknown[0]}: no installed package adds such a channel ({GROUP})")
    return Channels(channels)


def mail_server(settings: Settings) -> MailServer | None:
    """The mail server, where one is set. Raises ``ConfigurationError``."""
    if not settings.smtp_host:
        return None
    try:
        return MailServer(
            host=settings.smtp_host,
            port=settings.smtp_port,
            sender=settings.smtp_from,
            security=settings.smtp_security,
            user=settings.smtp_user or None,
            password=settings.smtp_password.get_secret_value() or None,
            ca_file=Path(settings.smtp_ca_file) if settings.smtp_ca_file else None,
        )
    except InvalidRequest as error:
        raise ConfigurationError(str(error)) from error


def _installed() -> dict[str, Callable[[Mapping[str, Any]], Channel]]:
    """What other packages add, by name; none of ours can be replaced so."""
    found: dict[str, Callable[[Mapping[str, Any]], Channel]] = {}
    for point in entry_points(group=GROUP):
        if point.name in (WEBHOOK, EMAIL, APPRISE) or point.name in found:
            raise ConfigurationError(
                f"two channels are called {point.name!r}: uninstall {point.value.partition(':')[0]}"
            )
        try:
            found[point.name] = point.load()
        except Exception as error:
            raise ConfigurationError(f"the channel {point.name!r} cannot be loaded ({type(error).__name__})") from error
    return found


def _made(name: str, factory: Callable[[Mapping[str, Any]], Channel], given: Mapping[str, Any]) -> Channel:
    try:
        return _Guest(name, factory(given))
    except ConfigurationError:
        raise
    except Exception as error:
        words = f"the channel {name!r} does not work with its settings, [channels.{name}] ({type(error).__name__})"
        raise ConfigurationError(words) from None


def _need(name: str) -> str:
    return _HOW_TO_HAVE.get(name, f"no installed package adds it ({GROUP})")
