"""What may be asked of the history, read strictly from a query: a filter that is misspelt is an error, not ignored."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from replyhook.errors import InvalidRequest
from replyhook.ids import is_id
from replyhook.jobs import JobStatus, Trust
from replyhook.providers import PROVIDERS
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import ReportSource
from replyhook_receiver.stores.history import CallbackFilter, EventFilter
from replyhook_receiver.web.models import LARGEST_PAGE, USUAL_PAGE

Word = TypeVar("Word", bound=StrEnum)
LONGEST_NAME = 1_024

_CALLBACKS = (
    "provider", "job", "orphans", "unrecognised", "trust", "verdict", "source", "since", "until", "before", "limit",
)  # fmt: skip
_EVENTS = ("provider", "job", "status", "verdict", "source", "before", "limit")


def read_callbacks_query(query: Mapping[str, str]) -> tuple[CallbackFilter, str | None, int]:
    """Which callbacks are wanted, before which, and how many. Raises ``InvalidRequest``."""
    _check_names(query, _CALLBACKS)
    verdict = _one_of(Verdict, query, "verdict")
    if _is_true(query, "unrecognised"):
        if verdict not in (None, Verdict.UNRECOGNISED):
            raise InvalidRequest("verdict", verdict, "unrecognised, or none beside unrecognised=true")
        verdict = Verdict.UNRECOGNISED
    wanted = CallbackFilter(
        provider=_provider(query),
        job_id=query.get("job"),
        orphan=True if _is_true(query, "orphans") else None,
        source=_one_of(ReportSource, query, "source"),
        trust=_one_of(Trust, query, "trust"),
        verdict=verdict,
        since=_time(query, "since"),
        until=_time(query, "until"),
    )
    return wanted, _before(query, "cb"), _limit(query)


def read_events_query(query: Mapping[str, str]) -> tuple[EventFilter, str | None, int]:
    """Which events are wanted, before which, and how many. Raises ``InvalidRequest``."""
    _check_names(query, _EVENTS)
    wanted = EventFilter(
        provider=_provider(query),
        job_id=query.get("job"),
        source=_one_of(ReportSource, query, "source"),
        status=_one_of(JobStatus, query, "status"),
        verdict=_one_of(Verdict, query, "verdict"),
    )
    return wanted, _before(query, "evt"), _limit(query)


def read_name_query(query: Mapping[str, str]) -> str:
    """What is looked for. Raises ``InvalidRequest``."""
    _check_names(query, ("name",))
    name = query.get("name", "")
    if not 0 < len(name) <= LONGEST_NAME:
        raise InvalidRequest("name", name[:64], f"a text of 1 to {LONGEST_NAME} characters")
    return name


def is_wanted_raw(query: Mapping[str, str]) -> bool:
    """Whether a callback's body is wanted as it came. Raises ``InvalidRequest``."""
    _check_names(query, ("raw",))
    return _is_true(query, "raw")


def _check_names(query: Mapping[str, str], known: tuple[str, ...]) -> None:
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidRequest(unknown[0][:64], query[unknown[0]][:64], f"what may be asked is {', '.join(known)}")


def _is_true(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidRequest(name, value[:64], "true or false")
    return value == "true"


def _one_of(kind: type[Word], query: Mapping[str, str], name: str) -> Word | None:
    value = query.get(name)
    if value is None:
        return None
    if value not in set(kind):
        raise InvalidRequest(name, value[:64], f"one of {', '.join(kind)}")
    return kind(value)


def _provider(query: Mapping[str, str]) -> str | None:
    value = query.get("provider")
    if value is not None and value not in PROVIDERS:
        raise InvalidRequest("provider", value[:64], f"one of {', '.join(sorted(PROVIDERS))}")
    return value


def _time(query: Mapping[str, str], name: str) -> datetime | None:
    value = query.get(name)
    if value is None:
        return None
    try:
        # In a query "+" means a space, and that is where it stands in a time zone.
        when = datetime.fromisoformat(value.replace(" ", "+") if value.count(" ") == 1 and "T" in value else value)
    except ValueError:
        raise InvalidRequest(name, value[:64], "a time such as 2026-11-21T09:30:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _before(query: Mapping[str, str], prefix: str) -> str | None:
    before = query.get("before")
    if before is not None and not is_id(prefix, before):
        raise InvalidRequest("before", before[:64], f"the last id of the page before: {prefix}_ and 26 characters")
    return before


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(USUAL_PAGE))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 0
    if not 0 < limit <= LARGEST_PAGE:
        raise InvalidRequest("limit", text[:64], f"a whole number from 1 to {LARGEST_PAGE}")
    return limit
