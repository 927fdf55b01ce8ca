"""Where endpoints lead: how many deliveries go to one place at a time, and the breaker for places that fail."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from urllib.parse import urlsplit

from replyhook_receiver.answers import Answer
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.retries import LONGEST_PAUSE, PROBED_AFTER, probe_pause
from replyhook_receiver.stores.deliveries import WaitsFor
from replyhook_receiver.stores.sql.among import run_among
from replyhook_receiver.stores.sql.connection import Cursor, Raw, Row
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
_ANY_HELD = f"SELECT 1 FROM held WHERE place = ? AND reason = '{WaitsFor.PLACE.value}' LIMIT 1"  # noqa: S608
_BREAKERS = "SELECT place, failures, probe_ms FROM places WHERE place IN (SELECT value FROM json_each(?))"
HELD_NO_MORE = "DELETE FROM held WHERE delivery_id IN (SELECT value FROM json_each(?))"
_GOES = """
    UPDATE tasks SET state = 'ready', due_ms = ?
    WHERE kind = ? AND subject IN (SELECT value FROM json_each(?)) AND state = 'held'
"""
_FAILED = """
    INSERT INTO places (place, failures, probe_ms) VALUES (?, 1, ?)
    ON CONFLICT (place) DO UPDATE SET failures = places.failures + 1,
        probe_ms = CASE WHEN places.probe_ms > excluded.probe_ms THEN places.probe_ms ELSE excluded.probe_ms END
"""

_ALL = "*"
_MILLISECOND = timedelta(milliseconds=1)


def _pause_ms() -> str:
    """How long a place is left alone, by its failures: as SQL, so that they need not be fetched."""
    steps, failures = [], PROBED_AFTER
    while probe_pause(failures) < probe_pause(failures + 1):
        steps.append(f"WHEN failures = {failures} THEN {probe_pause(failures) // _MILLISECOND}")
        failures += 1
    return (
        f"CASE WHEN failures < {PROBED_AFTER} THEN 0 {' '.join(steps)} ELSE {probe_pause(failures) // _MILLISECOND} END"
    )


_PAUSED = f"UPDATE places SET probe_ms = ?1 + {_pause_ms()} WHERE place = ?2 AND probe_ms < ?1 + {_pause_ms()}"  # noqa: S608 - numbers of ours


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

    Whoever waits for what has become free goes on when all is known of it, at the end: ``ask``, then ``let_go``. Until
    then nothing is read for each of many deliveries.
    """

    def __init__(self, raw: Raw, *, limits: Limits, now: datetime) -> None:
        self._raw = raw
        self._limits = limits
        self._now_ms = to_ms(now)
        self._breakers: dict[str, tuple[bool, int]] = {}
        self._busy: Counter[str] | None = None
        self._freed: dict[str, None] = {}
        self._asked: list[tuple[str, Cursor]] = []

    def read_ahead(self, places: Iterable[str]) -> None:
        """Read what is known of these places, and of those who share their gates."""
        self._read({gate for place in places for gate in _gates(place, is_sound=False)})

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
        """Somebody has left a place: others go on, there or elsewhere."""
        for gate in _gates(place, is_sound=False):
            self.let_through(gate)

    def let_others_through(self, place: str) -> None:
        """A place is paused: what goes elsewhere need not wait for it."""
        for gate in _gates(place, is_sound=False)[1:]:
            self.let_through(gate)

    def let_through(self, gate: str) -> None:
        """As many of those that are held go on as have room; where it fails, one, when its pause is over."""
        self._freed[gate] = None

    def ask(self) -> None:
        """Ask who waits at the gates that others were to go on through."""
        self._asked = [(gate, self._raw.execute(_ANY_HELD, (gate,))) for gate in self._freed]
        self._freed = {}

    def let_go(self) -> None:
        """Let those go on who were asked for."""
        gates = [gate for gate, found in self._asked if found.fetchone() is not None]
        self._asked = []
        if not gates:
            return
        waiting = [(gate, self._raw.execute(_HELD, (gate, self._most(gate)))) for gate in gates]
        self._read(gates)
        going: defaultdict[int, list[str]] = defaultdict(list)
        for gate, found in waiting:
            due_ms = max(self._breaker(gate)[1], self._now_ms)
            going[due_ms] += [row["delivery_id"] for row in islice(found, max(self._free(gate), 0))]
        for due_ms, delivery_ids in going.items():
            let_go(self._raw, delivery_ids, due_ms)

    @property
    def _under_way(self) -> Counter[str]:
        if self._busy is None:
            self._read(())
        assert self._busy is not None  # noqa: S101 - it was read
        return self._busy

    def _free(self, gate: str) -> int:
        is_failing, _ = self._breaker(gate)
        return (1 if is_failing else self._most(gate)) - self._under_way[gate]

    def _most(self, gate: str) -> int:
        return self._limits.all if gate == _ALL else self._limits.place if " " in gate else self._limits.host

    def _breaker(self, gate: str) -> tuple[bool, int]:
        """Whether it is tried by one at a time only, and not before when."""
        if gate not in self._breakers:
            self._read((gate,))
        return self._breakers[gate]

    def _read(self, gates: Iterable[str]) -> None:
        """Read what is not known yet: the breakers of these gates, and how many are under way. All is asked for before
        the first answer is waited for."""
        unknown = [gate for gate in gates if gate not in self._breakers]
        busy = self._raw.execute(_UNDER_WAY, (self._now_ms,)) if self._busy is None else None
        breakers = run_among(self._raw, _BREAKERS, ids=unknown) if unknown else ()
        self._breakers.update(dict.fromkeys(unknown, (False, 0)))
        for row in breakers:
            self._breakers[row["place"]] = self._breaker_from(row)
        if busy is not None:
            self._busy = _counted(busy)

    def _breaker_from(self, row: Row) -> tuple[bool, int]:
        # What would be longer than any pause was noted while the clock was ahead.
        is_believable = row["probe_ms"] <= self._now_ms + LONGEST_PAUSE.total_seconds() * 1000
        probe_ms = row["probe_ms"] if is_believable else 0
        return row["failures"] >= PROBED_AFTER or probe_ms > self._now_ms, probe_ms


def _counted(rows: Iterable[Row]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for row in rows:
        for gate in (row["place"], host_of(row["place"]), *(() if row["is_sound"] else (_ALL,))):
            counted[gate] += row["deliveries"]
    return counted


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
    raw.execute(_PAUSED, (to_ms(now), place))


def note_success(raw: Raw, place: str) -> None:
    """It answers: all that was held against it is forgotten."""
    raw.execute("DELETE FROM places WHERE place IN (?, ?)", (place, host_of(place)))


def leave(raw: Raw, endpoint_id: str, now: datetime) -> None:
    """An endpoint is about to lead elsewhere, or to be no more: whatever waits for its place is looked at anew."""
    place = raw.execute(f"SELECT {PLACE} AS place FROM endpoints e WHERE e.id = ?", (endpoint_id,)).fetchone()["place"]  # noqa: S608 - ours
    waiting = f"SELECT delivery_id FROM held WHERE place IN (?, ?) AND reason = '{WaitsFor.PLACE.value}'"  # noqa: S608
    rows = raw.execute(waiting, (place, host_of(place))).fetchall()
    let_go(raw, [row["delivery_id"] for row in rows], to_ms(now))


def let_go(raw: Raw, delivery_ids: Sequence[str], due_ms: int) -> None:
    """Hold deliveries no longer: they are looked at again when they are due."""
    if not delivery_ids:
        return
    run_among(raw, HELD_NO_MORE, ids=delivery_ids)
    run_among(raw, _GOES, due_ms, TaskKind.NOTIFY, ids=delivery_ids)


def _gates(place: str, *, is_sound: bool) -> Sequence[str]:
    return (place,) if is_sound else (place, host_of(place), _ALL)
