"""Where endpoints lead: how many deliveries go to one place at a time, and the breaker for places that fail."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from urllib.parse import urlsplit

from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import LONGEST_PAUSE, PROBED_AFTER, probe_pause
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.rows import to_ms

# With whose it is: whoever names somebody else's address, and is refused there, must not slow down the other's. What
# stands has its id, which no rotation changes; jobs that name the same address and secret are one.
PLACE = """
    e.channel || ' ' || e.url || ' ' || CASE WHEN e.job_id IS NULL THEN e.id ELSE coalesce(e.secrets, e.secret, '') END
"""

# A registered endpoint that does not fail: what hangs elsewhere does not hold it up.
SOUND = "e.job_id IS NULL AND e.failing_since_ms IS NULL"

_UNDER_WAY = f"""
    SELECT {PLACE} AS place, {SOUND} AS is_sound, count(*) AS deliveries
    FROM tasks t JOIN deliveries d ON d.id = t.subject JOIN endpoints e ON e.id = d.endpoint_id
    WHERE t.state = 'leased' AND t.kind = '{TaskKind.NOTIFY.value}' AND t.lease_until_ms > ? GROUP BY 1, 2
"""  # noqa: S608 - constants of ours
_HELD = f"""
    SELECT delivery_id FROM held h JOIN tasks t ON t.kind = '{TaskKind.NOTIFY.value}' AND t.subject = h.delivery_id
    WHERE h.place = ? AND h.reason = '{WaitsFor.PLACE.value}' AND t.state = 'held' ORDER BY h.notification LIMIT ?
"""  # noqa: S608
_ANY_HELD = f"""
    SELECT EXISTS (SELECT 1 FROM held WHERE place = ?1 AND reason = '{WaitsFor.PLACE.value}'),
        EXISTS (SELECT 1 FROM held WHERE place = ?2 AND reason = '{WaitsFor.PLACE.value}'),
        EXISTS (SELECT 1 FROM held WHERE place = ?3 AND reason = '{WaitsFor.PLACE.value}')
"""  # noqa: S608
_FAILED = """
    INSERT INTO places (place, failures, probe_ms) VALUES (?, 1, ?)
    ON CONFLICT (place) DO UPDATE SET failures = places.failures + 1,
        probe_ms = CASE WHEN places.probe_ms > excluded.probe_ms THEN places.probe_ms ELSE excluded.probe_ms END
"""


_ALL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many deliveries are under way at a time: to one place, to one host, and to all places but the sound ones."""

    place: int
    host: int
    all: int

    @classmethod
    def of(cls, *, place: int, at_once: int) -> "Limits":
        """As they follow from how many go to one endpoint, and how many there are ``at_once``."""
        return cls(place=place, host=max(place, min(2 * place, at_once // 4)), all=at_once - at_once // 4)


@lru_cache(maxsize=1024)
def host_of(place: str) -> str:
    """Where a place is: by its host and port, or, of what is no URL of the web, by its channel."""
    channel, url, _ = place.split(" ", 2)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return channel
    return f"{host}:{port}" if host and parts.scheme in ("http", "https") else channel


class Places:
    """The places as they are in one transaction.

    A delivery has to pass three gates: its place, its host and, so that what hangs never has all there is, one that is
    common to all. A sound endpoint passes the first one only.
    """

    def __init__(self, raw: Raw, *, limits: Limits, now: datetime) -> None:
        self._raw = raw
        self._limits = limits
        self._now_ms = to_ms(now)
        self._breakers: dict[str, tuple[bool, int]] = {}  # nothing that is done here changes them

    @cached_property
    def _under_way(self) -> Counter[str]:
        counted: Counter[str] = Counter()
        for row in self._raw.execute(_UNDER_WAY, (self._now_ms,)):
            for gate in (row["place"], host_of(row["place"]), *(() if row["is_sound"] else (_ALL,))):
                counted[gate] += row["deliveries"]
        return counted

    def take(self, place: str, *, is_sound: bool) -> str | None:
        """Count one more that goes there; or else the gate that is shut, behind which others may go on now."""
        gates = _gates(place, is_sound=is_sound)
        for number, gate in enumerate(gates):
            if self._free(gate) <= 0:
                for farther in gates[number + 1 :]:
                    self.let_through(farther)  # it may have been the one that was let through there
                return gate
        for gate in (place, host_of(place), *gates[2:]):
            self._under_way[gate] += 1
        return None

    def paused_until(self, place: str, *, is_sound: bool) -> int | None:
        """Until when, in milliseconds, nothing is sent there; None: it may be now."""
        probe_ms = max(self._breaker(gate)[1] for gate in _gates(place, is_sound=is_sound))
        return probe_ms if probe_ms > self._now_ms else None

    def let_in(self, place: str) -> None:
        """Somebody has left a place: let others go on, there or elsewhere."""
        gates = _gates(place, is_sound=False)
        somebody_waits = self._raw.execute(_ANY_HELD, gates).fetchone()
        for gate, waits in zip(gates, somebody_waits, strict=True):
            if waits:
                self.let_through(gate)

    def let_others_through(self, place: str) -> None:
        """A place is paused: what goes elsewhere need not wait for it."""
        for gate in _gates(place, is_sound=False)[1:]:
            self.let_through(gate)

    def let_through(self, gate: str) -> None:
        """Let as many of those that are held go on as have room; where it fails, one, when its pause is over."""
        if self._raw.execute(_HELD, (gate, 1)).fetchone() is None:
            return
        _, probe_ms = self._breaker(gate)
        for row in self._raw.execute(_HELD, (gate, max(self._free(gate), 0))).fetchall():
            let_go(self._raw, row["delivery_id"], max(probe_ms, self._now_ms))

    def _free(self, gate: str) -> int:
        is_failing, _ = self._breaker(gate)
        most = self._limits.all if gate == _ALL else self._limits.place if " " in gate else self._limits.host
        return (1 if is_failing else most) - self._under_way[gate]

    def _breaker(self, place: str) -> tuple[bool, int]:
        """Whether it is tried by one at a time only, and not before when."""
        if place not in self._breakers:
            self._breakers[place] = self._read_breaker(place)
        return self._breakers[place]

    def _read_breaker(self, place: str) -> tuple[bool, int]:
        row = self._raw.execute("SELECT failures, probe_ms FROM places WHERE place = ?", (place,)).fetchone()
        if row is None:
            return False, 0
        # What would be longer than any pause was noted while the clock was ahead.
        is_believable = row["probe_ms"] <= self._now_ms + LONGEST_PAUSE.total_seconds() * 1000
        probe_ms = row["probe_ms"] if is_believable else 0
        return row["failures"] >= PROBED_AFTER or probe_ms > self._now_ms, probe_ms


def note_failure(raw: Raw, place: str, answer: Answer, now: datetime) -> None:
    """One more in a row, of its host too if nobody answered there: whoever is refused must not slow down others."""
    _note_failure(raw, place, answer, now)
    if answer.status is None:
        _note_failure(raw, host_of(place), answer, now)
    else:
        raw.execute("DELETE FROM places WHERE place = ?", (host_of(place),))


def _note_failure(raw: Raw, place: str, answer: Answer, now: datetime) -> None:
    """When it asked for a pause, or has failed too often, it gets one."""
    raw.execute(_FAILED, (place, to_ms(now + min(answer.pause, LONGEST_PAUSE) if answer.pause else now)))
    row = raw.execute("SELECT failures FROM places WHERE place = ?", (place,)).fetchone()
    until = to_ms(now + probe_pause(row["failures"]))
    raw.execute("UPDATE places SET probe_ms = ?1 WHERE place = ?2 AND probe_ms < ?1", (until, place))


def note_success(raw: Raw, place: str) -> None:
    """It answers: all that was held against it is forgotten."""
    raw.execute("DELETE FROM places WHERE place IN (?, ?)", (place, host_of(place)))


def leave(raw: Raw, endpoint_id: str, now: datetime) -> None:
    """An endpoint is about to lead elsewhere, or to be no more: whatever waits for its place is looked at anew."""
    place = raw.execute(f"SELECT {PLACE} AS place FROM endpoints e WHERE e.id = ?", (endpoint_id,)).fetchone()["place"]  # noqa: S608 - ours
    waiting = f"SELECT delivery_id FROM held WHERE place IN (?, ?) AND reason = '{WaitsFor.PLACE.value}'"  # noqa: S608
    for row in raw.execute(waiting, (place, host_of(place))).fetchall():
        let_go(raw, row["delivery_id"], to_ms(now))


def let_go(raw: Raw, delivery_id: str, due_ms: int) -> None:
    """Hold a delivery no longer: it is looked at again when it is due."""
    raw.execute("DELETE FROM held WHERE delivery_id = ?", (delivery_id,))
    raw.execute(
        "UPDATE tasks SET state = 'ready', due_ms = ? WHERE kind = ? AND subject = ? AND state = 'held'",
        (due_ms, TaskKind.NOTIFY, delivery_id),
    )


def _gates(place: str, *, is_sound: bool) -> Sequence[str]:
    return (place,) if is_sound else (place, host_of(place), _ALL)
