"""What one transaction does: the work of many callers, each of which fails alone."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.sql.connection import Raw

Work = Callable[[Raw], Any]
AcceptAll = Callable[[Raw, Sequence[Report]], list[Accepted]]
RunAlone = Callable[[Raw, Work], Any]
"""What work comes to, under a savepoint; what it raises is returned, with nothing of it kept."""
Batch = Callable[[Raw, RunAlone], list[Any]]


class Engine(Protocol):
    """The one connection that writes."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the database raises."""
        ...

    async def commit(self, batch: Batch) -> list[Any]:
        """Run ``batch`` in a transaction, on the connection's thread; it is on disk when this returns.

        An engine may run it once more, after all of it was taken back.
        """
        ...

    def is_locked(self, error: Exception) -> bool:
        """Whether others would wait as long, for the same lock."""
        ...


def run_batch(raw: Raw, works: Sequence[Work | Report], accept_all: AcceptAll, alone: RunAlone) -> list[Any]:
    """What each of ``works`` came to, a value or the error that it failed with.

    Reports are written together, by ``accept_all``; if that fails, each by itself.
    """
    results: dict[int, Any] = {}
    reports = [(place, work) for place, work in enumerate(works) if isinstance(work, Report)]
    if reports:
        accepted = _accept_reports(raw, [report for _, report in reports], accept_all, alone)
        results.update(zip((place for place, _ in reports), accepted, strict=True))
    for place, work in enumerate(works):
        if not isinstance(work, Report):
            results[place] = alone(raw, work)
    return [results[place] for place in range(len(works))]


def _accept_reports(raw: Raw, reports: Sequence[Report], accept_all: AcceptAll, alone: RunAlone) -> Sequence[Any]:
    together = alone(raw, lambda raw: accept_all(raw, reports))
    if not isinstance(together, Exception):
        accepted: list[Accepted] = together
        return accepted
    if len(reports) == 1:
        return [together]
    return [alone(raw, lambda raw, report=report: accept_all(raw, [report])[0]) for report in reports]  # type: ignore[misc] # a default argument
