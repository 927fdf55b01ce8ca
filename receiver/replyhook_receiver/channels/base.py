"""The Channel protocol: say which addresses are possible, send once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from replyhook_receiver.records import DeliveryRecord

KEPT_OF_ANSWER = 1024

Poster = Callable[[str], Awaitable[bytes | None]]
"""Finds a job's poster frame, a JPEG, by the job's id; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side said to what it took: its status, where it has such, and the first KiB of its words."""

    status: int | None = None
    body: bytes = field(default=b"", repr=False)


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
        """Bring it. Raises ``DeliveryRefused``, ``NetworkRefused``, ``NetworkTrouble``, ``ChannelTrouble``."""
        ...
