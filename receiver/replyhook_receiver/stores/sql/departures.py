"""Deliveries whose tries end in one transaction: read at once, and who waits for them goes on when all have left."""

from collections.abc import Sequence
from datetime import datetime

from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.followers import Followers
from replyhook_receiver.stores.sql.places import Limits, Places
from replyhook_receiver.stores.sql.rows import from_ms, to_ms
from replyhook_receiver.stores.sql.turns import Turn, let_all_go_on, read_turn, read_turns


class Departures:
    """What is known of them, and what they leave."""

    def __init__(self, raw: Raw, *, limits: Limits, now: datetime) -> None:
        self._raw = raw
        self._followers = Followers(raw, now=now)
        self._places = Places(raw, limits=limits, now=now)
        self._turns: dict[str, Turn] = {}
        self._failing_since_ms: dict[str, int | None] = {}
        self.leases: dict[str, bool] | None = None
        """As in ``tasks.release``."""

    def read_ahead(self, delivery_ids: Sequence[str]) -> None:
        """Read what is known of deliveries that are going to end."""
        self._turns = read_turns(self._raw, delivery_ids)

    def turn(self, delivery_id: str) -> Turn | None:
        """A delivery, or None."""
        return self._turns.pop(delivery_id, None) or read_turn(self._raw, delivery_id)

    def forget(self) -> None:
        """Deliveries were given up all at once: what was read ahead is not believed any more."""
        self._turns = {}
        self.leases = None

    def hear(self, turn: Turn) -> None:
        """An endpoint has taken what it was brought."""
        self._failing_since_ms[turn.endpoint_id] = None

    def fails_since(self, turn: Turn, now: datetime) -> datetime:
        """Since when an endpoint, which has failed again, has done nothing else."""
        since = self._failing_since_ms.get(turn.endpoint_id, turn.failing_since_ms)
        since = to_ms(now) if since is None else since
        self._failing_since_ms[turn.endpoint_id] = since
        return from_ms(since) or now

    def follow(self, turn: Turn) -> None:
        """A delivery has ended: the next one of its job to its endpoint is to be looked at."""
        self._followers.follow(turn.endpoint_id, turn.job_id)

    def leave(self, place: str) -> None:
        """A try has ended: its room is free."""
        self._places.let_in(place)

    def settle(self) -> None:
        """Let those go on who wait for what has become free."""
        let_all_go_on(self._followers, self._places)
