"""The IdempotencyStore protocol: what was asked with which Idempotency-Key, and what was answered."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer that is given again."""

    status: int
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """What is known of a key: which request it was first used for, and its answer once there is one.

    ``request`` is the request's hash. ``made_id`` is what the id of whatever it makes is made from: it stays the same
    if the request has to be run again, because its first run was cut off. ``runs_elsewhere``: another receiver does.
    """

    request: str
    made_id: str
    answer: KeptAnswer | None = None
    runs_elsewhere: bool = False


class IdempotencyStore(Protocol):
    """Keys, each of one caller; all return only after the write is on disk, or raise ``StoreUnavailable``."""

    async def begin(self, caller: str, key: str, request: str, *, now: datetime) -> KeyedRequest:
        """Keep that the key is used for this request; what was kept of it before, unless that is too old.

        Some of what is too old goes away with each call.
        """
        ...

    async def let_go(self, caller: str, key: str) -> None:
        """The request is not run any more, and was not answered for good: whoever sends it again has it run again."""
        ...

    async def keep_answer(self, caller: str, key: str, answer: KeptAnswer) -> None:
        """Keep what the request was answered."""
        ...
