"""Notifications as signed HTTP posts: Standard Webhooks 1.0.0, https://www.standardwebhooks.com."""

from collections.abc import Sequence
from datetime import datetime

from replyhook.messages import HTTPRequest
from replyhook.signatures import sign_standard_webhooks
from replyhook_receiver.channels.base import KEPT_OF_ANSWER, Answer
from replyhook_receiver.errors import DeliveryRefused, EndpointGone
from replyhook_receiver.net import Door
from replyhook_receiver.records import DeliveryRecord

TIMEOUT_SECONDS = 15.0
_READ_OF_ANSWER = 1024 * 16


class WebhookChannel:
    """Posts the notification's body. ``secrets`` sign for targets without secrets of their own, newest first."""

    operator_only = False

    def __init__(self, *, door: Door, secrets: Sequence[str]) -> None:
        self._door = door
        self._secrets = secrets

    async def check(self, url: str) -> None:
        """Whether the door would let us talk to it; it is asked again at each connection."""
        await self._door.check(url)

    def build(self, delivery: DeliveryRecord, *, now: datetime) -> HTTPRequest:
        """The signed post. ``webhook-id`` is the notification's, the same at every try and for every endpoint."""
        notification, target = delivery.notification, delivery.target
        secrets = target.signing_secrets(now) or self._secrets
        signature = sign_standard_webhooks(secrets, message_id=notification.id, sent_at=now, body=notification.body)
        return HTTPRequest(
            method="POST",
            url=target.url,
            headers={
                **target.headers,
                "content-type": "application/json",
                "user-agent": "replyhook",
                "webhook-id": notification.id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": signature,
            },
            body=notification.body,
        )

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:
        """Post it. Only 2xx is success; a redirect is a refusal, since it may lead anywhere."""
        request = self.build(delivery, now=now)
        response = await self._door.send(request, timeout_seconds=TIMEOUT_SECONDS, max_bytes=_READ_OF_ANSWER, cut=True)
        said = response.body[:KEPT_OF_ANSWER]
        if 200 <= response.status < 300:
            return Answer(status=response.status, body=said)
        words = f"the endpoint answered {response.status}"
        if response.status == 410:
            raise EndpointGone(words, status=response.status, answer=said)
        raise DeliveryRefused(words, status=response.status, retry_after=response.retry_after, answer=said)
