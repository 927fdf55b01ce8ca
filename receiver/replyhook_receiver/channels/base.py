"""The Channel protocol: say which addresses are possible, send once."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from replyhook_receiver.answers import Answer
from replyhook_receiver.records import DeliveryRecord

Poster = Callable[[str], Awaitable[bytes | None]]
"""Finds a job's poster frame, a JPEG, by the job's id; None where there is none."""


class Channel(Protocol):
    """One way to bring a notification. It sends once and raises; the worker decides about another try."""

    @property
    def operator_only(self) -> bool:
        """Whether its URLs come from the settings alone: so where it may connect to any address it is given."""
        ...

    async def check(self, url: str) -> None:
        """Raise ``InvalidRequest`` or ``NetworkRefused`` for a URL that it would never send to."""
        ...

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:
        """Bring it. What was answered. Raises ``DeliveryRefused``, ``ChannelTrouble``, and the door's errors."""
        ...
