"""What may be asked of the history, as the filters of the store."""

from starlette.datastructures import QueryParams

from replyhook.errors import InvalidRequest
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.stores.history import CallbackFilter, EventFilter
from replyhook_receiver.web.queries import CallbacksQuery, EventsQuery, read_query


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
        source=asked.source,
        status=asked.status,
        verdict=asked.verdict,
        since=asked.since,
        until=asked.until,
    )
    return wanted, asked.before, asked.limit
