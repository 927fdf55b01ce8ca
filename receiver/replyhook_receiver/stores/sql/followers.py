"""Who goes on when a delivery has ended: the next one of its job to its endpoint."""

from datetime import datetime

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql.connection import Cursor, Raw
from replyhook_receiver.stores.sql.places import let_go
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sql.siblings import Pair

_NEXT = f"""
    SELECT delivery_id FROM held h JOIN tasks t ON t.kind = '{TaskKind.NOTIFY.value}' AND t.subject = h.delivery_id
    WHERE h.endpoint_id = ? AND h.reason = '{WaitsFor.EARLIER.value}' AND h.job_id = ? AND t.state = 'held'
    ORDER BY h.notification LIMIT 1
"""  # noqa: S608 - a constant of ours


class Followers:
    """Those of all deliveries that end in one transaction, looked up at its end: ``ask``, then ``let_go``."""

    def __init__(self, raw: Raw, *, now: datetime) -> None:
        self._raw = raw
        self._now_ms = to_ms(now)
        self._pairs: dict[Pair, None] = {}
        self._asked: list[Cursor] = []

    def follow(self, endpoint_id: str, job_id: str) -> None:
        """One of them has ended: the next one is to be looked at."""
        self._pairs[endpoint_id, job_id] = None

    def ask(self) -> None:
        """Ask who is next."""
        self._asked = [self._raw.execute(_NEXT, pair) for pair in self._pairs]
        self._pairs = {}

    def let_go(self) -> None:
        """Let those go on who were asked for."""
        found = [cursor.fetchone() for cursor in self._asked]
        self._asked = []
        let_go(self._raw, [row["delivery_id"] for row in found if row is not None], self._now_ms)
