"""The Keys protocol: API keys, of which everything is kept but the keys themselves."""

from datetime import datetime
from typing import Protocol

from replyhook_receiver.keys import KeyRecord, NewKey


class Keys(Protocol):
    """Every method that writes returns only after the write is on disk. All raise ``StoreUnavailable``."""

    async def create(self, wanted: NewKey, *, now: datetime) -> tuple[KeyRecord, str]:
        """Make a key; what is kept of it, and the key, which nobody can be told again."""
        ...

    async def find(self, key: str) -> KeyRecord | None:
        """What is kept of this very key, valid or not; or None."""
        ...

    async def get(self, key_id: str) -> KeyRecord | None:
        """The key with that id, valid or not; or None."""
        ...

    async def list(self, *, before: str | None = None, limit: int = 100) -> list[KeyRecord]:
        """Keys, newest first, the revoked ones too; those before the id ``before``, where it is given."""
        ...

    async def revoke(self, key_id: str, *, now: datetime) -> KeyRecord:
        """Let it open nothing from now on; its row stays. Twice is as once. Raises ``UnknownKey``."""
        ...

    async def note_use(self, key_id: str, *, now: datetime) -> None:
        """Keep when it was last used."""
        ...
