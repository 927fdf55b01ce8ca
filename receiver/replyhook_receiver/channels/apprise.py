"""Notifications to chat and push services through Apprise: Slack, Discord, Telegram, ntfy and over a hundred more.

Apprise has no guard on the addresses it connects to, and its URLs are secrets: they come from the settings alone.
"""

import logging
from datetime import datetime

import anyio
import apprise
from anyio import to_thread

from replyhook.errors import InvalidRequest
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.message import read_message
from replyhook_receiver.endpoint_rules import APPRISE, shown_endpoint_url
from replyhook_receiver.errors import ChannelTrouble, NetworkTrouble
from replyhook_receiver.records import DeliveryRecord

TIMEOUT_SECONDS = 25.0
_THREADS = 8

# Apprise, and what it sends with, log parts of the URLs.
for _name in ("apprise", "urllib3", "requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class AppriseChannel:
    """Sends each notification as a title and a text. Runs in a few threads of its own: Apprise blocks."""

    operator_only = True

    def __init__(self, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def check(self, url: str) -> None:
        """Whether Apprise knows such a service and the URL has all it needs."""
        await to_thread.run_sync(_service, url, limiter=self._threads)  # it loads a hundred modules the first time

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:  # noqa: ARG002 - the protocol's
        """Send it. Apprise tells neither a status nor a reason."""
        message = read_message(delivery.notification)

        def notify() -> bool:
            service = _service(delivery.target.url)
            return bool(service.notify(body=message.text, title=message.subject, body_format=apprise.NotifyFormat.TEXT))

        try:
            with anyio.fail_after(self._timeout_seconds):
                is_taken = await to_thread.run_sync(notify, limiter=self._threads, abandon_on_cancel=True)
        except TimeoutError:
            raise NetworkTrouble(f"the service did not take it within {self._timeout_seconds:g} s") from None
        except InvalidRequest:
            raise
        except Exception as error:
            raise ChannelTrouble(f"Apprise failed ({type(error).__name__})") from None  # its words may hold the URL
        if not is_taken:
            raise ChannelTrouble("the service did not take it; Apprise does not say why")
        return Answer(status=None)


def _service(url: str) -> apprise.Apprise:
    service = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    if not service.add(url):
        allowed = "the URL of a service that Apprise knows, complete"
        raise InvalidRequest("url", shown_endpoint_url(APPRISE, url), allowed)
    return service
