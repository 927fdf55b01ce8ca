"""What may be asked of the lists, as the filters of the store."""

from datetime import datetime

from starlette.datastructures import QueryParams

from replyhook.errors import InvalidRequest
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import JobFilter
from replyhook_receiver.stores.history import CallbackFilter, EventFilter
from replyhook_receiver.web.queries import CallbacksQuery, EventsQuery, JobsQuery, read_query


def read_jobs_query(query: QueryParams) -> tuple[JobFilter, str | None, int]:
    """Which jobs are wanted, before which, and how many. Raises ``InvalidRequest``."""
    asked = read_query(query, JobsQuery)
    wanted = JobFilter(
        status=asked.status,
        provider=asked.provider,
        reference=asked.reference,
        user=asked.user,
        created_after=_either("since", asked.since, "created_after", asked.created_after),
        created_before=_either("until", asked.until, "created_before", asked.created_before),
        error=asked.error,
        overdue=asked.overdue,
        video=asked.video,
        expiring=asked.expiring,
    )
    return wanted, asked.before, asked.limit


def read_callbacks_query(query: QueryParams) -> tuple[CallbackFilter, str | None, int]:
    """Which callbacks are wanted, before which, and how many. Raises ``InvalidRequest``."""
    asked = read_query(query, CallbacksQuery)
    verdict = asked.verdict
    if asked.unrecognised:
        if verdict not in (None, Verdict.UNRECOGNISED):
            raise InvalidRequest("verdict", verdict, "unrecognised, or none beside unrecognised=true")
        verdict = Verdict.UNRECOGNISED
    wanted = CallbackFilter(
        provider=asked.provider,
        job_id=asked.job,
        reference=asked.reference,
        user=asked.user,
        orphan=True if asked.orphans else None,
        source=asked.source,
        trust=asked.trust,
        verdict=verdict,
        since=asked.since,
        until=asked.until,
    )
    return wanted, asked.before, asked.limit


def read_events_query(query: QueryParams) -> tuple[EventFilter, str | None, int]:
    """Which events are wanted, before which, and how many. Raises ``InvalidRequest``."""
    asked = read_query(query, EventsQuery)
    wanted = EventFilter(
        provider=asked.provider,
        job_id=asked.job,
        reference=asked.reference,
        user=asked.user,
        source=asked.source,
        status=asked.status,
        verdict=asked.verdict,
        since=asked.since,
        until=asked.until,
    )
    return wanted, asked.before, asked.limit


def _either(name: str, given: datetime | None, other_name: str, other: datetime | None) -> datetime | None:
    """The one of two ways to say the same that was taken."""
    if given is not None and other is not None:
        raise InvalidRequest(name, given.isoformat(), f"either {name} or {other_name}: they mean the same")
    return other if given is None else given
