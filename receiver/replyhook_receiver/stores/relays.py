"""The Relays protocol: what a relayed submit waits for, a place at its provider or the provider itself."""

from datetime import datetime
from typing import Protocol


class Relays(Protocol):
    """Relayed jobs that are still to be submitted. Places are given out in the order of arrival, when one is free.

    A job has a place from the claim of its submit until its end, or until it is overdue and nobody asks any more;
    jobs that their callers submit themselves count too, once they are known to be under way.
    """

    async def refused_since(self, job_id: str) -> datetime | None:
        """When the provider first refused a job that is to be sent again; None where it has not."""
        ...

    async def is_begun(self, job_id: str) -> bool:
        """Whether the submit of a job was begun, and not certainly refused since."""
        ...

    async def waiting_for(self, job_id: str) -> str | None:
        """What a relayed job waits for, in words; None where it does not wait."""
        ...
