"""The Traces protocol: which trace a job belongs to, kept while processes come and go."""

from dataclasses import dataclass
from typing import Protocol

from replyhook_receiver.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTrace:
    """A job, its provider, and its W3C ``traceparent`` where it has one yet."""

    job_id: str
    provider: str
    traceparent: str | None = None


class Traces(Protocol):
    """Written and read only where traces are on. All raise ``StoreUnavailable``."""

    async def keep(self, job_id: str, traceparent: str) -> None:
        """Let a job belong to a trace, unless it belongs to one or is not there."""
        ...

    async def of_job(self, job_id: str) -> JobTrace | None:
        """A job's, or None where there is no such job."""
        ...

    async def of_task(self, task: Task) -> JobTrace | None:
        """That of the job which a task is about, or None where there is none any more."""
        ...
