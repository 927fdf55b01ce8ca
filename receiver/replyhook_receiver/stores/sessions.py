"""The Sessions protocol: who is signed in to the dashboard. Whoever has a session's id has the session."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

IDLE_FOR = timedelta(hours=12)
"""A session that nobody used for so long is over."""
LONGEST_SESSION = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """What is kept of a session: everything but its id."""

    key_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything."""
        return self.revoked_at is None and now < min(self.expires_at, self.last_seen_at + IDLE_FOR)


class Sessions(Protocol):
    """Every method that writes returns only after the write is on disk. All raise ``StoreUnavailable``."""

    async def begin(self, session_id: str, key_id: str, *, now: datetime) -> SessionRecord:
        """Keep that the key with that id has signed in; sessions that are over leave with it.

        So do the longest unused of that key, where it has very many: whoever has a key fills no disk with them.
        """
        ...

    async def find(self, session_id: str) -> SessionRecord | None:
        """What is kept of a session, valid or not; or None."""
        ...

    async def note_use(self, session_id: str, *, now: datetime) -> None:
        """Keep when it was last used."""
        ...

    async def revoke(self, session_id: str, *, now: datetime) -> None:
        """Let it open nothing from now on. Twice is as once."""
        ...
