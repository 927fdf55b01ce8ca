"""Bringing notifications: one delivery, one try."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from replyhook_receiver import logs
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.base import Channel
from replyhook_receiver.errors import EndpointGone, ReceiverTrouble
from replyhook_receiver.measures import DeliveryTries
from replyhook_receiver.records import DeliveryStatus
from replyhook_receiver.stores.deliveries import Deliveries
from replyhook_receiver.tasks import Done, Task


class Notify:
    """Runs notify tasks; the subject is the delivery's id."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        channels: Mapping[str, Channel],
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        tries: DeliveryTries | None = None,
    ) -> None:
        self._deliveries = deliveries
        self._channels = channels
        self._now = now
        self._monotonic = monotonic
        self._tries = DeliveryTries() if tries is None else tries

    async def __call__(self, task: Task) -> Done:
        """Bring it, unless it was brought already. Raises ``DeliveryRefused`` and the door's errors."""
        delivery = await self._deliveries.get(task.subject)
        if delivery is None or delivery.status is not DeliveryStatus.PENDING:
            return Done()
        logs.also_about(job_id=delivery.notification.job_id)
        begun = self._monotonic()
        try:
            answer = await self._channels[delivery.channel].send(delivery, now=self._now())
        except ReceiverTrouble as error:
            self._tries.add(delivery.channel, delivery.standing_endpoint, "failed")
            gone = isinstance(error, EndpointGone)
            said = error.answer or Answer(status=None)
            error.answer = replace(said, took_ms=self._since(begun), pause=error.retry_after, is_gone=gone)
            raise
        self._tries.add(delivery.channel, delivery.standing_endpoint, "delivered")
        return Done(answer=replace(answer, took_ms=self._since(begun)))

    def _since(self, begun: float) -> int:
        return round((self._monotonic() - begun) * 1000)
