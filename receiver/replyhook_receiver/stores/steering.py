"""The Steering protocol: what an operator has done about one job before its time would come."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class Steering(Protocol):
    """Both raise ``UnknownJob``, ``NothingToDo`` where there is nothing that could be done, ``StoreUnavailable``."""

    async def retry(self, job_id: str, *, now: datetime) -> Sequence[str]:
        """Put back what was given up for a job, with all its tries before it: fetching its video by the link it has,
        asking for its result; which of them. A submit is never sent again."""
        ...

    async def ask_now(self, job_id: str, *, now: datetime) -> None:
        """Let the provider be asked about a job that has not ended, now, and as often as an overdue one is."""
        ...
