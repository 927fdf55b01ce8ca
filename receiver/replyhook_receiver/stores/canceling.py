"""The Canceling protocol: ending a relayed job before it is submitted, decided in one place with the submit itself."""

from datetime import datetime
from typing import Protocol


class Canceling(Protocol):
    """Raises ``StoreUnavailable`` when the database cannot."""

    async def cancel_unsent(self, job_id: str, *, now: datetime) -> bool:
        """Cancel a job that the receiver was to submit, unless its submit was begun, or it has ended; whether it was.

        After that no submit of it is ever begun: ``begin_submit`` says so.
        """
        ...
