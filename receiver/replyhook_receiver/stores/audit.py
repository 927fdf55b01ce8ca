"""The Audit protocol: what was done by hand, by whom, to what, when, and what came of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

KEPT_FOR = timedelta(days=400)
"""A deed leaves with its job, or after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something done by hand. ``user``: whose things the key was for; None: everybody's."""

    key_id: str
    action: str
    thing: str
    thing_id: str
    outcome: str
    key_name: str | None = None
    user: str | None = field(default=None, repr=False)
    job_id: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """A deed as it is kept."""

    id: str
    at: datetime
    deed: Deed


class Audit(Protocol):
    """``note`` returns only after the write is on disk. All raise ``StoreUnavailable``."""

    async def note(self, deed: Deed, *, now: datetime) -> AuditRecord:
        """Keep it; what is older than ``KEPT_FOR`` leaves."""
        ...

    async def of_job(self, job_id: str, *, limit: int = 100) -> list[AuditRecord]:
        """What was done about a job, newest first."""
        ...

    async def latest(self, *, limit: int) -> list[AuditRecord]:
        """What was done of all kinds, newest first."""
        ...

    async def of_thing(self, thing_id: str, *, limit: int = 100) -> list[AuditRecord]:
        """What was done to a callback, a delivery, an endpoint, newest first."""
        ...
