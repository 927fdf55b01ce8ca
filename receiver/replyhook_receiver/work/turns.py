"""Whose turn it is at a place for downloads: nobody holds one for long, or to the end of another's link, while others
wait for it. What is broken off goes on later where it stopped.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from replyhook_receiver.errors import NetworkTrouble, StoreUnavailable, TurnOver
from replyhook_receiver.records import JobRecord
from replyhook_receiver.storage.base import Incoming as Part
from replyhook_receiver.stores.links import Links, WaitingLink
from replyhook_receiver.work.hosts import CountedAs

_URGENT = timedelta(minutes=20)
_FAR = timedelta(days=36_500)
_AFTER_A_TURN = timedelta(minutes=5)
_AT_ONCE = timedelta(seconds=1)
_SLOW_BYTES_PER_SECOND = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a try may hold its place while others wait for one: longer where it could not be gone on with.

    A slow one that cannot be gone on with gives way to an urgent one, too, once it has shown that it is slow.
    """

    turn_seconds: float = 600.0
    longest_seconds: float = 3600.0
    look_seconds: float = 5.0
    slow_after_seconds: float = 20.0


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """One try of one download."""

    turns: "Turns" = field(repr=False)
    host: str
    ends_at: datetime | None
    began: float
    part: Part | None = None
    size_then: int = 0
    looked_at: float = 0.0
    is_asked_to_go: bool = False

    def begin(self, part: Part) -> None:
        """What there is of it before this try: a host that begins anew each time makes no headway."""
        self.part, self.size_then = part, part.size

    async def look(self, part: Part) -> None:
        """Called as bytes come. Raises ``TurnOver``, or ``NetworkTrouble`` where there is nothing to go on with."""
        now = time.monotonic()
        if now - self.looked_at >= self.turns.patience.look_seconds:
            self.looked_at = now
            await self.turns.look(self, part)


class Turns:
    """The tries that run in this process. All workers have ``places``, ``per_host`` of them for one media host.

    What others hold counts; to make room, each breaks off its own.
    """

    def __init__(
        self,
        *,
        links: Links,
        counted_as: CountedAs,
        places: int,
        per_host: int,
        now: Callable[[], datetime],
        patience: Patience | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self._links = links
        self._counted_as = counted_as
        self._places = places
        self._per_host = per_host
        self._now = now
        self._held: set[Turn] = set()
        self._waiting: dict[str, WaitingLink] = {}  # of each host the link that ends next
        self._elsewhere: Counter[str] = Counter()  # what other processes hold, by host
        self._asked_at = float("-inf")

    @contextlib.contextmanager
    def take(self, job: JobRecord, url: str) -> Iterator[Turn]:
        """A try of this job's video holds one of the places."""
        began = time.monotonic()
        host = self._counted_as(url)
        turn = Turn(turns=self, host=host, ends_at=job.asset.expires_at, began=began, looked_at=began)
        self._held.add(turn)
        try:
            yield turn
        finally:
            self._held.discard(turn)

    async def look(self, turn: Turn, part: Part) -> None:
        """Whether ``turn`` is over: raised where it is."""
        if time.monotonic() - self._asked_at >= self.patience.look_seconds:
            await self._see_who_waits()
        now, seconds = self._now(), time.monotonic() - turn.began
        self._ask_the_slowest(now)
        goes_on = self._goes_on(turn, now)
        is_long = seconds >= (self.patience.turn_seconds if goes_on else self.patience.longest_seconds)
        if not (turn.is_asked_to_go or (is_long and self._is_in_the_way(turn))):
            return
        await self._see_who_waits()  # somebody else may have made room meanwhile
        turn.is_asked_to_go = False
        if not self._is_in_the_way(turn):
            return
        self._waiting = {}  # one at a time: who comes next looks anew
        if not goes_on or part.size <= turn.size_then:
            raise NetworkTrouble(f"the video was not here after {seconds:.0f} s, and others wait")
        pause = self._pause(turn, now) if is_long else _AT_ONCE
        raise TurnOver(f"others wait: it goes on later after {part.size} bytes", pause=pause)

    async def _see_who_waits(self) -> None:
        self._asked_at = time.monotonic()
        now = self._now()
        first: dict[str, WaitingLink] = {}
        with contextlib.suppress(StoreUnavailable):  # no reason to break anything off
            for link in await self._links.first_waiting(now=now):
                host = self._counted_as(link.url)
                if host not in first or first[host].ends_at <= now:
                    first[host] = link
            if first:
                held = Counter(self._counted_as(url) for url in await self._links.held(now=now))
                self._elsewhere = held - Counter(turn.host for turn in self._held)
        self._waiting = first

    def _is_in_the_way(self, turn: Turn) -> bool:
        return any(self._would_help(turn, host) for host in self._waiting)

    def _ask_the_slowest(self, now: datetime) -> None:
        """For a link that ends soon and has no place: the slowest of those in its way that can wait longer is to go."""
        for host, link in self._waiting.items():
            if now < link.ends_at < now + _URGENT:
                others = [
                    held
                    for held in self._held
                    if (held.ends_at or now + _FAR) > link.ends_at
                    and self._would_help(held, host)
                    and self._may_give_way(held, now)
                ]
                if others:
                    if not any(held.is_asked_to_go for held in others):
                        min(others, key=_speed).is_asked_to_go = True
                    return

    def _would_help(self, turn: Turn, host: str) -> bool:
        """Whether there is no place for a link of this host, and would be one without ``turn``."""
        at_host = sum(held.host == host for held in self._held) + self._elsewhere[host]
        in_all = len(self._held) + self._elsewhere.total()
        has_place = in_all < self._places and at_host < self._per_host
        return not has_place and in_all <= self._places and at_host - (host == turn.host) < self._per_host

    def _goes_on(self, turn: Turn, now: datetime) -> bool:
        """Whether its next try could begin where this one stops."""
        return turn.part is not None and bool(turn.part.note) and (turn.ends_at is None or turn.ends_at > now)

    def _may_give_way(self, turn: Turn, now: datetime) -> bool:
        seconds = time.monotonic() - turn.began
        if self._goes_on(turn, now):
            return seconds >= self.patience.look_seconds
        return seconds >= self.patience.slow_after_seconds and _speed(turn) < _SLOW_BYTES_PER_SECOND

    def _pause(self, turn: Turn, now: datetime) -> timedelta:
        """So long the others come first, whenever their links end."""
        left = (turn.ends_at - now) / 4 if turn.ends_at is not None else _AFTER_A_TURN
        return max(min(left, _AFTER_A_TURN), _AT_ONCE)


def _speed(turn: Turn) -> float:
    size = turn.part.size if turn.part is not None else 0
    come = size - turn.size_then if size >= turn.size_then else size
    return come / max(time.monotonic() - turn.began, 0.001)
