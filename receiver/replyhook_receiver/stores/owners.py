"""The Owners protocol: whether a thing is a user's, for keys that are for one user's things only."""

from enum import StrEnum
from typing import Protocol


class Thing(StrEnum):
    """What an id may stand for."""

    JOB = "job"
    NEW_JOB = "new job"
    CALLBACK = "callback"
    DELIVERY = "delivery"
    ENDPOINT = "endpoint"


class Owners(Protocol):
    """A callback is its job's user's; so is a job's endpoint. A standing endpoint is the user's that it hears of.

    A delivery is the user's whose job and whose endpoint it is: one to the operator's own endpoint is the operator's.
    """

    async def is_users(self, thing: Thing, ident: str, user: str) -> bool:
        """Whether this is ``user``'s; a ``NEW_JOB`` is, too, where there is no such job, or nobody has registered it.

        Raises ``StoreUnavailable``.
        """
        ...
