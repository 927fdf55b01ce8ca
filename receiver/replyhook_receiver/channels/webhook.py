"""Notifications as signed HTTP posts: Standard Webhooks 1.0.0, https://www.standardwebhooks.com."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from replyhook.messages import HTTPRequest
from replyhook.signatures import sign_standard_webhooks
from replyhook_receiver.answer_texts import kept_text
from replyhook_receiver.answers import Answer
from replyhook_receiver.errors import DeliveryRefused, EndpointGone
from replyhook_receiver.net import Door
from replyhook_receiver.records import DeliveryRecord

TIMEOUT_SECONDS = 15.0
_KEPT_OF_ANSWER = 1024 * 16
_LONG_NAME = 16  # what is shorter in a path is a word, not a token
_PLAIN_HEADERS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp"})


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
        response = await self._door.send(request, timeout_seconds=TIMEOUT_SECONDS, max_bytes=_KEPT_OF_ANSWER, cut=True)
        text = kept_text(response.body, secrets=_sent(request))
        if 200 <= response.status < 300:
            return Answer(status=response.status, text=text)
        words = f"the endpoint answered {response.status}"
        if response.status == 410:
            raise EndpointGone(words, status=response.status, text=text)
        raise DeliveryRefused(words, status=response.status, text=text, retry_after=response.retry_after)


def _sent(request: HTTPRequest) -> Iterator[str]:
    """What of a request its answer must not repeat to others: where it went, and what proves us."""
    yield request.url
    parts = urlsplit(request.url)
    yield from (parts.query, parts.username or "", parts.password or "")
    yield from (part for part in parts.path.split("/") if len(part) >= _LONG_NAME)
    yield from (value for _, value in parse_qsl(parts.query))
    yield from (value for name, value in request.headers.items() if name not in _PLAIN_HEADERS)
