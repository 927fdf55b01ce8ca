"""Whose turn it is: which due deliveries may go out, which wait for others, and which have become pointless.

Looked at when a delivery is claimed, in the same transaction, so it holds for any number of workers. What may not go
out is taken out of the tasks that are due (``held``) and put back by the end of what it waits for: so however much
waits for an endpoint, it is looked at once, not at every claim.

What is to be known of the candidates is read for many at a time, and followed in memory: over a network each answer
that is waited for costs more than all else, and holds up all who write.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql.among import run_among
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.followers import Followers
from replyhook_receiver.stores.sql.inserts import Insert
from replyhook_receiver.stores.sql.places import HELD_NO_MORE, PLACE, SOUND, Limits, Places, let_go
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sql.siblings import Pair, Sibling, Siblings, can_be_superseded, superseded_by

_NOTIFY = TaskKind.NOTIFY.value
_TURNS = f"""
    SELECT d.id, d.notification, d.status, d.endpoint_id, n.job_id, n.type, {PLACE} AS place,
        e.disabled_ms IS NOT NULL AS is_disabled,
        e.job_id IS NULL AS is_standing, e.removed_ms IS NOT NULL AS is_removed, e.disabled_why,
        {SOUND} AS is_sound, e.failing_since_ms
    FROM deliveries d JOIN notifications n ON n.sequence = d.notification JOIN endpoints e ON e.id = d.endpoint_id
    WHERE d.id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - a constant of ours
_HOLD = Insert("held (delivery_id, reason, place, endpoint_id, job_id, notification)", 6)
_TAKE_OUT = """
    UPDATE tasks SET state = 'held', lease = NULL, lease_until_ms = NULL
    WHERE kind = ? AND subject IN (SELECT value FROM json_each(?))
"""
_NOT_DUE = "UPDATE tasks SET state = 'done' WHERE kind = ? AND subject = ? AND state IN ('ready', 'leased')"
_POSTPONE = """
    UPDATE tasks SET state = 'ready', due_ms = ?, lease = NULL, lease_until_ms = NULL WHERE kind = ? AND subject = ?
"""
_TIMES = 4
"""At first as many are read ahead as there is room for, then so many times as many each time."""


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
    failing_since_ms: int | None

    @property
    def pair(self) -> Pair:
        """Where its siblings are."""
        return self.endpoint_id, self.job_id


def read_turns(raw: Raw, delivery_ids: Sequence[str]) -> dict[str, Turn]:
    """Of these deliveries those that there are, by their ids."""
    return {row["id"]: Turn(**dict(row)) for row in run_among(raw, _TURNS, ids=delivery_ids)}


def read_turn(raw: Raw, delivery_id: str) -> Turn | None:
    """A delivery, or None."""
    return read_turns(raw, [delivery_id]).get(delivery_id)


class Turns:
    """The deliveries that one transaction claims. What is found out is written down by ``settle``."""

    def __init__(self, raw: Raw, *, limits: Limits, now: datetime) -> None:
        self._raw = raw
        self._now_ms = to_ms(now)
        self._places = Places(raw, limits=limits, now=now)
        self._followers = Followers(raw, now=now)
        self._expected: Iterator[str] = iter(())
        self._at_a_time = 1
        self._turns: dict[str, Turn | None] = {}
        self._siblings: dict[Pair, Siblings] = {}
        self._visited: list[str] = []
        self._held: dict[str, tuple[object, ...]] = {}

    def expect(self, delivery_ids: Iterable[str], *, limit: int) -> None:
        """These will be asked for, in this order, until ``limit`` of them were admitted."""
        self._expected = iter(delivery_ids)
        self._at_a_time = limit

    def admit(self, delivery_id: str) -> bool:
        """Whether a due delivery may go out now. If not, its task is not due any more."""
        while delivery_id not in self._turns:
            self._read_ahead(delivery_id)
        self._visited.append(delivery_id)
        turn = self._turns[delivery_id]
        if turn is None:
            return True
        if turn.status != "pending":  # it was superseded a moment ago, by one that was looked at before it
            self._raw.execute(_NOT_DUE, (_NOTIFY, delivery_id))
            return False
        is_ready = self._is_its_turn(turn)
        if not is_ready:
            self._places.let_in(turn.place)  # it may have been the one that was let in
        return is_ready and self._has_room(turn)

    def settle(self) -> None:
        """Write down who is held, and let those go on who wait for what has become free."""
        if not self._visited:
            return
        run_among(self._raw, HELD_NO_MORE, ids=self._visited)
        if self._held:
            _HOLD.write(self._raw, list(self._held.values()))
            run_among(self._raw, _TAKE_OUT, _NOTIFY, ids=list(self._held))
        let_all_go_on(self._followers, self._places)

    def _read_ahead(self, delivery_id: str) -> None:
        some = list(islice(self._expected, self._at_a_time)) or [delivery_id]
        self._at_a_time *= _TIMES
        found = read_turns(self._raw, some)
        self._turns.update((each, found.get(each)) for each in some)
        pending = [turn for turn in found.values() if turn.status == "pending"]
        pairs = {turn.pair for turn in pending} - self._siblings.keys()
        if pairs:
            self._siblings.update(dict.fromkeys(pairs, Siblings(self._raw, pairs, self._now_ms)))
        if pending:
            self._places.read_ahead({turn.place for turn in pending})

    def _is_its_turn(self, turn: Turn) -> bool:
        siblings = self._siblings[turn.pair].of(turn.pair)
        later = superseded_by(turn.notification, turn.type, siblings)
        if later is not None:
            self._supersede(turn, turn.id, later, siblings)
            return False
        if turn.is_disabled:
            self._hold(turn, WaitsFor.ENABLING)
            return False
        for each in siblings:
            if each.notification >= turn.notification or each.status != "pending":
                continue
            later = superseded_by(each.notification, each.type, siblings)
            if later is None or each.is_under_way:
                self._hold(turn, WaitsFor.EARLIER)
                return False
            self._supersede(turn, each.id, later, siblings)
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

    def _supersede(self, turn: Turn, delivery_id: str, by: str, siblings: Sequence[Sibling]) -> None:
        """End a sibling of ``turn``, or itself."""
        supersede(self._raw, delivery_id, by, self._now_ms)
        self._followers.follow(turn.endpoint_id, turn.job_id)
        self._held.pop(delivery_id, None)
        for each in siblings:
            if each.id == delivery_id:
                each.status = "superseded"
        known = self._turns.get(delivery_id)
        if known is not None:
            self._turns[delivery_id] = replace(known, status="superseded")

    def _hold(self, turn: Turn, reason: WaitsFor, gate: str = "") -> None:
        place = gate or turn.place
        self._held[turn.id] = (turn.id, reason.value, place, turn.endpoint_id, turn.job_id, turn.notification)


def later_end(raw: Raw, turn: Turn, now: datetime) -> str | None:
    """The delivery of a later end, which makes one of mere progress pointless, looked up."""
    if not can_be_superseded(turn.type):
        return None
    siblings = Siblings(raw, [turn.pair], to_ms(now)).of(turn.pair)
    return superseded_by(turn.notification, turn.type, siblings)


def supersede(raw: Raw, delivery_id: str, by: str, now_ms: int) -> None:
    """End a delivery without sending it: ``by`` says more. Whoever follows it is to be let go on."""
    raw.execute("UPDATE deliveries SET status = 'superseded', superseded_by = ? WHERE id = ?", (by, delivery_id))
    _end(raw, delivery_id, "done", None, now_ms)


def bury(raw: Raw, delivery_id: str, problem: str, now_ms: int) -> None:
    """Give a delivery up. Whoever follows it is to be let go on."""
    raw.execute("UPDATE deliveries SET status = 'dead', problem = ? WHERE id = ?", (problem, delivery_id))
    _end(raw, delivery_id, "dead", problem, now_ms)


def let_all_go_on(followers: Followers, places: Places) -> None:
    """At the end of a transaction; both are asked for before the first answer is waited for."""
    followers.ask()
    places.ask()
    followers.let_go()
    places.let_go()


def look_again(raw: Raw, now: datetime) -> None:
    """Look at everything held once more: nothing is to wait for ever for what a process was stopped from noticing."""
    waiting = f"SELECT delivery_id FROM held WHERE reason <> '{WaitsFor.ENABLING.value}'"  # noqa: S608
    let_go(raw, [row["delivery_id"] for row in raw.execute(waiting).fetchall()], to_ms(now))


def _end(raw: Raw, delivery_id: str, state: str, problem: str | None, now_ms: int) -> None:
    raw.execute("DELETE FROM held WHERE delivery_id = ?", (delivery_id,))
    raw.execute(
        """
        UPDATE tasks SET state = ?, problem = ?, finished_ms = ?, again = 0, lease = NULL, lease_until_ms = NULL
        WHERE kind = ? AND subject = ?
        """,
        (state, problem, now_ms, _NOTIFY, delivery_id),
    )
