"""The Windows protocol: how far down a list is looked at once, so that a filter that is rarely true holds nobody up."""

from enum import StrEnum
from typing import Protocol

LOOKED_AT = 10_000
"""So many rows of a list are looked at for one page."""


class Listed(StrEnum):
    """What there are long lists of."""

    JOBS = "jobs"
    CALLBACKS = "callbacks"
    DELIVERIES = "deliveries"


class Windows(Protocol):
    """Raises ``StoreUnavailable`` when the database cannot be read."""

    async def bottom(self, of: Listed, *, before: str | None = None, rows: int = LOOKED_AT) -> str | None:
        """The id of the row that is ``rows`` below the one with the id ``before``, or below the newest.

        None where there are not so many.
        """
        ...
