"""Delivers one callback, again and again along a provider's ladder until it counts as delivered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from replyhook_receiver.sandbox.outbound import Outbound, OutboundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One callback, ready to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


# Called for every attempt, so that a provider that signs does it with the time of that attempt.
Seal = Callable[[], Envelope]


def is_2xx(status: int, _text: str) -> bool:
    """Any answer of the 2xx family."""
    return 200 <= status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A provider's rules: the wait before each retry, how long it waits for an answer, which answers satisfy it."""

    ladder: tuple[float, ...]
    timeout_seconds: float
    is_delivered: Callable[[int, str], bool] = is_2xx


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One callback to deliver: ``kind`` is for the record, ``wait_seconds`` passes before the first attempt."""

    kind: str
    seal: Seal
    is_retried: bool = True
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at delivering a callback, and what came of it: an answer or an error."""

    kind: str
    at: datetime
    status: int | None = None
    answer: str | None = None
    error: str | None = None


async def deliver(
    message: Message, rules: Delivery, *, speed: float, outbound: Outbound, record: Callable[[Attempt], None]
) -> bool:
    """Send ``message`` until it counts as delivered or the ladder ends. Every attempt is handed to ``record``."""
    for wait_seconds in (message.wait_seconds, *(rules.ladder if message.is_retried else ())):
        await anyio.sleep(wait_seconds / speed)
        attempt = await _attempt(message, rules, outbound)
        record(attempt)
        if attempt.status is not None and rules.is_delivered(attempt.status, attempt.answer or ""):
            return True
    return False


async def _attempt(message: Message, rules: Delivery, outbound: Outbound) -> Attempt:
    at = datetime.now(UTC)
    envelope = message.seal()
    try:
        answer = await outbound.post(
            envelope.url,
            headers=dict(envelope.headers),
            body=envelope.body,
            timeout_seconds=rules.timeout_seconds,
        )
    except OutboundError as error:
        return Attempt(kind=message.kind, at=at, error=str(error))
    return Attempt(kind=message.kind, at=at, status=answer.status, answer=answer.text)
