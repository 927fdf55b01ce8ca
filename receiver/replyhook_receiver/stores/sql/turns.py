"""Whose turn it is: which due deliveries may go out, which wait for others, and which have become pointless.

Looked at when a delivery is claimed, in the same transaction, so it holds for any number of workers. What may not go
out is taken out of the tasks that are due (``held``) and put back by the end of what it waits for: so however much
waits for an endpoint, it is looked at once, not at every claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql.connection import Raw, Row
from replyhook_receiver.stores.sql.places import PLACE, SOUND, Limits, Places, let_go
from replyhook_receiver.stores.sql.rows import to_ms

_PROGRESS = frozenset(kind.value for kind in NotificationType if kind.is_progress)
_ENDS = frozenset(kind.value for kind in NotificationType if kind.is_end)
_NOTIFY = TaskKind.NOTIFY.value
_TURN = f"""
    SELECT d.id, d.notification, d.status, d.endpoint_id, n.job_id, n.type, {PLACE} AS place,
        e.disabled_ms IS NOT NULL AS is_disabled,
        e.job_id IS NULL AS is_standing, e.removed_ms IS NOT NULL AS is_removed, e.disabled_why,
        {SOUND} AS is_sound
    FROM deliveries d JOIN notifications n ON n.sequence = d.notification JOIN endpoints e ON e.id = d.endpoint_id
    WHERE d.id = ?
"""  # noqa: S608 - a constant of ours
_SIBLINGS = f"""
    SELECT d.id, d.notification, d.status, n.type,
        coalesce(t.state = 'leased' AND t.lease_until_ms > ?3, FALSE) AS is_under_way
    FROM notifications n JOIN deliveries d ON d.notification = n.sequence AND d.endpoint_id = ?2
    LEFT JOIN tasks t ON t.kind = '{_NOTIFY}' AND t.subject = d.id
    WHERE n.job_id = ?1 ORDER BY n.sequence
"""  # noqa: S608
_HOLD = """
    INSERT INTO held (delivery_id, reason, place, endpoint_id, job_id, notification) VALUES (?, ?, ?, ?, ?, ?)
"""
_TAKE_OUT = "UPDATE tasks SET state = 'held', lease = NULL, lease_until_ms = NULL WHERE kind = ? AND subject = ?"
_NOT_DUE = "UPDATE tasks SET state = 'done' WHERE kind = ? AND subject = ? AND state IN ('ready', 'leased')"
_POSTPONE = """
    UPDATE tasks SET state = 'ready', due_ms = ?, lease = NULL, lease_until_ms = NULL WHERE kind = ? AND subject = ?
"""
_NEXT = f"""
    SELECT delivery_id FROM held h JOIN tasks t ON t.kind = '{_NOTIFY}' AND t.subject = h.delivery_id
    WHERE h.endpoint_id = ? AND h.reason = '{WaitsFor.EARLIER.value}' AND h.job_id = ? AND t.state = 'held'
    ORDER BY h.notification LIMIT 1
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A delivery with what decides whether it may go out."""

    id: str
    notification: int
    status: str
    endpoint_id: str
    job_id: str
    type: str
    place: str
    is_disabled: bool
    is_standing: bool
    is_removed: bool
    disabled_why: str | None
    is_sound: bool


def read_turn(raw: Raw, delivery_id: str) -> Turn | None:
    """A delivery, or None."""
    row = raw.execute(_TURN, (delivery_id,)).fetchone()
    return Turn(**dict(row)) if row else None


class Turns:
    """The deliveries that one transaction claims."""

    def __init__(self, raw: Raw, *, limits: Limits, now: datetime) -> None:
        self._raw = raw
        self._now_ms = to_ms(now)
        self._places = Places(raw, limits=limits, now=now)

    def admit(self, delivery_id: str) -> bool:
        """Whether a due delivery may go out now. If not, its task is not due any more."""
        self._raw.execute("DELETE FROM held WHERE delivery_id = ?", (delivery_id,))
        turn = read_turn(self._raw, delivery_id)
        if turn is None:
            return True
        if turn.status != "pending":  # it was superseded a moment ago, by one that was looked at before it
            self._raw.execute(_NOT_DUE, (_NOTIFY, delivery_id))
            return False
        is_ready = self._is_its_turn(turn)
        if not is_ready:
            self._places.let_in(turn.place)  # it may have been the one that was let in
        return is_ready and self._has_room(turn)

    def _is_its_turn(self, turn: Turn) -> bool:
        siblings = self._siblings(turn)
        later = superseded_by(turn.notification, turn.type, siblings)
        if later is not None:
            supersede(self._raw, turn, later, self._now_ms)
            return False
        if turn.is_disabled:
            self._hold(turn, WaitsFor.ENABLING)
            return False
        for row in siblings:
            if row["notification"] >= turn.notification or row["status"] != "pending":
                continue
            later = superseded_by(row["notification"], row["type"], siblings)
            if later is None or row["is_under_way"]:
                self._hold(turn, WaitsFor.EARLIER)
                return False
            earlier = read_turn(self._raw, row["id"])
            if earlier is not None:
                supersede(self._raw, earlier, later, self._now_ms)
        return True

    def _has_room(self, turn: Turn) -> bool:
        paused_until = self._places.paused_until(turn.place, is_sound=turn.is_sound)
        if paused_until is not None:
            self._raw.execute(_POSTPONE, (paused_until, _NOTIFY, turn.id))
            self._places.let_others_through(turn.place)
            return False
        shut = self._places.take(turn.place, is_sound=turn.is_sound)
        if shut is not None:
            self._hold(turn, WaitsFor.PLACE, shut)
        return shut is None

    def _siblings(self, turn: Turn) -> Sequence[Row]:
        """All deliveries of the same job to the same endpoint, in their order."""
        return self._raw.execute(_SIBLINGS, (turn.job_id, turn.endpoint_id, self._now_ms)).fetchall()

    def _hold(self, turn: Turn, reason: WaitsFor, gate: str = "") -> None:
        self._raw.execute(
            _HOLD, (turn.id, reason, gate or turn.place, turn.endpoint_id, turn.job_id, turn.notification)
        )
        self._raw.execute(_TAKE_OUT, (_NOTIFY, turn.id))


def superseded_by(notification: int, kind: str, siblings: Sequence[Row]) -> str | None:
    """The delivery of a later end, which makes one of mere progress pointless."""
    if kind not in _PROGRESS:
        return None
    ends = (row for row in siblings if row["notification"] > notification and row["type"] in _ENDS)
    return next((row["id"] for row in ends), None)


def later_end(raw: Raw, turn: Turn, now: datetime) -> str | None:
    """The same of one delivery, looked up."""
    siblings = raw.execute(_SIBLINGS, (turn.job_id, turn.endpoint_id, to_ms(now))).fetchall()
    return superseded_by(turn.notification, turn.type, siblings)


def supersede(raw: Raw, turn: Turn, by: str, now_ms: int) -> None:
    """End a delivery without sending it: ``by`` says more."""
    raw.execute("UPDATE deliveries SET status = 'superseded', superseded_by = ? WHERE id = ?", (by, turn.id))
    _end(raw, turn, "done", None, now_ms)


def bury(raw: Raw, turn: Turn, problem: str, now_ms: int) -> None:
    """Give a delivery up."""
    raw.execute("UPDATE deliveries SET status = 'dead', problem = ? WHERE id = ?", (problem, turn.id))
    _end(raw, turn, "dead", problem, now_ms)


def let_next_go(raw: Raw, turn: Turn, now_ms: int) -> None:
    """A delivery has ended: the next one of its job to its endpoint may be looked at."""
    row = raw.execute(_NEXT, (turn.endpoint_id, turn.job_id)).fetchone()
    if row is not None:
        let_go(raw, row["delivery_id"], now_ms)


def look_again(raw: Raw, now: datetime) -> None:
    """Look at everything held once more: nothing is to wait for ever for what a process was stopped from noticing."""
    waiting = f"SELECT delivery_id FROM held WHERE reason <> '{WaitsFor.ENABLING.value}'"  # noqa: S608
    for row in raw.execute(waiting).fetchall():
        let_go(raw, row["delivery_id"], to_ms(now))


def _end(raw: Raw, turn: Turn, state: str, problem: str | None, now_ms: int) -> None:
    raw.execute("DELETE FROM held WHERE delivery_id = ?", (turn.id,))
    raw.execute(
        """
        UPDATE tasks SET state = ?, problem = ?, finished_ms = ?, again = 0, lease = NULL, lease_until_ms = NULL
        WHERE kind = ? AND subject = ?
        """,
        (state, problem, now_ms, _NOTIFY, turn.id),
    )
    let_next_go(raw, turn, now_ms)
