"""Bringing notifications: one delivery, one try."""

from collections.abc import Callable, Mapping
from datetime import datetime

from replyhook_receiver.channels.base import Channel
from replyhook_receiver.records import Done, Task
from replyhook_receiver.stores.base import Store


class Notify:
    """Runs notify tasks; the subject is the delivery's id."""

    def __init__(self, *, store: Store, channels: Mapping[str, Channel], now: Callable[[], datetime]) -> None:
        self._store = store
        self._channels = channels
        self._now = now

    async def __call__(self, task: Task) -> Done:
        """Bring it, unless it was brought already. Raises ``DeliveryRefused`` and the door's errors."""
        delivery = await self._store.delivery(task.subject)
        if delivery is None or delivery.delivered:
            return Done()
        answer = await self._channels[delivery.channel].send(delivery, now=self._now())
        return Done(status=answer.status)
