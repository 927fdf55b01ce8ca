"""A look at all that waits in the outbox, every few minutes: nothing waits for ever for what nobody noticed."""

from datetime import datetime, timedelta

from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql import kept
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.places import Limits, Places, let_go
from replyhook_receiver.stores.sql.rows import to_ms

EVERY = timedelta(minutes=5)

_PENDING = "SELECT 1 FROM deliveries WHERE status = 'pending' LIMIT 1"
_OVERLOOKED = f"""
    SELECT h.delivery_id FROM held h WHERE h.reason = '{WaitsFor.EARLIER.value}' AND NOT EXISTS (
        SELECT 1 FROM notifications n JOIN deliveries d ON d.notification = n.sequence
        WHERE n.job_id = h.job_id AND n.sequence < h.notification
            AND d.endpoint_id = h.endpoint_id AND d.status = 'pending'
    )
"""  # noqa: S608 - a constant of ours
_BUSY = f"SELECT DISTINCT place FROM held WHERE reason = '{WaitsFor.PLACE.value}'"  # noqa: S608


class Looks:
    """When it was looked last, and the look itself."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._next: datetime | None = None

    def next(self, raw: Raw, now: datetime) -> datetime | None:
        """When to look next: while something is pending."""
        if raw.execute(_PENDING).fetchone() is None:
            return None
        if self._next is None or self._next > now + EVERY:  # the clock was ahead
            self._next = now + EVERY
        return self._next

    def look(self, raw: Raw, now: datetime) -> None:
        """Look, where it is time to: let go what may go, give up what was kept for too long."""
        if self._next is None or self._next > now:
            return
        self._next = now + EVERY
        kept.sweep(raw, now)
        places = Places(raw, limits=self._limits, now=now)
        for row in raw.execute(_BUSY).fetchall():
            places.let_through(row["place"])
        places.ask()
        places.let_go()
        let_go(raw, [row["delivery_id"] for row in raw.execute(_OVERLOOKED).fetchall()], to_ms(now))
