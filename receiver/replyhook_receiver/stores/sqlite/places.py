"""Where endpoints lead: how many deliveries go to one place at a time, and the breaker for places that fail."""

import sqlite3
from collections import Counter
from datetime import datetime
from functools import cached_property

from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import LONGEST_PAUSE, PROBED_AFTER, probe_pause
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sqlite.rows import to_ms

# With whose it is: whoever names somebody else's address, and is refused there, must not slow down the other's. What
# stands has its id, which no rotation changes; jobs that name the same address and secret are one.
PLACE = """
    e.channel || ' ' || e.url || ' ' || CASE WHEN e.job_id IS NULL THEN e.id ELSE coalesce(e.secrets, e.secret, '') END
"""

_UNDER_WAY = f"""
    SELECT {PLACE} AS place, count(*) AS deliveries
    FROM tasks t JOIN deliveries d ON d.id = t.subject JOIN endpoints e ON e.id = d.endpoint_id
    WHERE t.state = 'leased' AND t.kind = '{TaskKind.NOTIFY.value}' AND t.lease_until_ms > ? GROUP BY 1
"""  # noqa: S608 - constants of ours
_HELD = f"""
    SELECT delivery_id FROM held h JOIN tasks t ON t.kind = '{TaskKind.NOTIFY.value}' AND t.subject = h.delivery_id
    WHERE h.place = ? AND h.reason = '{WaitsFor.PLACE.value}' AND t.state = 'held' ORDER BY h.notification LIMIT ?
"""  # noqa: S608
_FAILED = """
    INSERT INTO places (place, failures, probe_ms) VALUES (?, 1, ?)
    ON CONFLICT (place) DO UPDATE SET failures = failures + 1, probe_ms = max(probe_ms, excluded.probe_ms)
"""


class Places:
    """The places as they are in one transaction. ``at_most`` deliveries go to one of them at a time."""

    def __init__(self, raw: sqlite3.Connection, *, at_most: int, now: datetime) -> None:
        self._raw = raw
        self._at_most = at_most
        self._now_ms = to_ms(now)

    @cached_property
    def _under_way(self) -> Counter[str]:
        rows = self._raw.execute(_UNDER_WAY, (self._now_ms,))
        return Counter({row["place"]: row["deliveries"] for row in rows})

    def take(self, place: str) -> bool:
        """Whether one more may go there now; if so, it is counted."""
        is_failing, _ = self._breaker(place)
        if self._under_way[place] >= (1 if is_failing else self._at_most):
            return False
        self._under_way[place] += 1
        return True

    def paused_until(self, place: str) -> int | None:
        """Until when, in milliseconds, nothing is sent there; None: it may be now."""
        _, probe_ms = self._breaker(place)
        return probe_ms if probe_ms > self._now_ms else None

    def let_in(self, place: str) -> None:
        """Let as many of those that are held go on as have room; to a place that fails, one, when its pause is over."""
        if self._raw.execute(_HELD, (place, 1)).fetchone() is None:
            return
        is_failing, probe_ms = self._breaker(place)
        free = (1 if is_failing else self._at_most) - self._under_way[place]
        for row in self._raw.execute(_HELD, (place, max(free, 0))).fetchall():
            let_go(self._raw, row["delivery_id"], max(probe_ms, self._now_ms))

    def _breaker(self, place: str) -> tuple[bool, int]:
        """Whether a place is tried by one at a time only, and not before when."""
        row = self._raw.execute("SELECT failures, probe_ms FROM places WHERE place = ?", (place,)).fetchone()
        if row is None:
            return False, 0
        # What would be longer than any pause was noted while the clock was ahead.
        is_believable = row["probe_ms"] <= self._now_ms + LONGEST_PAUSE.total_seconds() * 1000
        probe_ms = row["probe_ms"] if is_believable else 0
        return row["failures"] >= PROBED_AFTER or probe_ms > self._now_ms, probe_ms


def note_failure(raw: sqlite3.Connection, place: str, answer: Answer, now: datetime) -> None:
    """One more in a row; when the place asked for a pause, or has failed too often, it gets one."""
    raw.execute(_FAILED, (place, to_ms(now + min(answer.pause, LONGEST_PAUSE) if answer.pause else now)))
    row = raw.execute("SELECT failures FROM places WHERE place = ?", (place,)).fetchone()
    until = to_ms(now + probe_pause(row["failures"]))
    raw.execute("UPDATE places SET probe_ms = max(probe_ms, ?) WHERE place = ?", (until, place))


def note_success(raw: sqlite3.Connection, place: str) -> None:
    """It answers: all that was held against it is forgotten."""
    raw.execute("DELETE FROM places WHERE place = ?", (place,))


def leave(raw: sqlite3.Connection, endpoint_id: str, now: datetime) -> None:
    """An endpoint is about to lead elsewhere, or to be no more: whatever waits for its place is looked at anew."""
    place = raw.execute(f"SELECT {PLACE} AS place FROM endpoints e WHERE e.id = ?", (endpoint_id,)).fetchone()["place"]  # noqa: S608 - ours
    waiting = f"SELECT delivery_id FROM held WHERE place = ? AND reason = '{WaitsFor.PLACE.value}'"  # noqa: S608
    for row in raw.execute(waiting, (place,)).fetchall():
        let_go(raw, row["delivery_id"], to_ms(now))


def let_go(raw: sqlite3.Connection, delivery_id: str, due_ms: int) -> None:
    """Hold a delivery no longer: it is looked at again when it is due."""
    raw.execute("DELETE FROM held WHERE delivery_id = ?", (delivery_id,))
    raw.execute(
        "UPDATE tasks SET state = 'ready', due_ms = ? WHERE kind = ? AND subject = ? AND state = 'held'",
        (due_ms, TaskKind.NOTIFY, delivery_id),
    )
