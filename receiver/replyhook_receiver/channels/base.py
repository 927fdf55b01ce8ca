"""The Channel protocol: build what is sent, send it once."""

from datetime import datetime
from typing import Protocol

from replyhook_receiver.answers import Answer
from replyhook_receiver.records import DeliveryRecord


class Channel(Protocol):
    """One way to bring a notification. It sends once and raises; the worker decides about another try."""

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:
        """Bring it. What was answered. Raises ``DeliveryRefused``, ``NetworkRefused``, ``NetworkTrouble``."""
        ...
