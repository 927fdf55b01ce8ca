"""What a listener asks for: filters, where to begin, how long; strictly, so that a slip is told and not obeyed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.datastructures import QueryParams

from replyhook.errors import InvalidRequest
from replyhook.jobs import MAX_USER_LENGTH, checked_reference
from replyhook.notifications import NotificationType
from replyhook.providers import PROVIDERS
from replyhook_receiver.stores.streams import StreamFilter

MAX_CHOSEN = 100
LONGEST_SECONDS = 24 * 3600.0
_KNOWN = ("job", "user", "types", "provider", "reference", "snapshot", "place", "seconds")


Flag = Annotated[str, Meta(extra_json_schema={"enum": ["true", "false"]})]
_REPEATED = "It may be repeated; with commas between them, of jobs, types and providers."


class StreamQuery(msgspec.Struct, kw_only=True):
    """`GET /v1/stream`, as it is told of; ``read_filter`` reads it, since its parameters may be repeated."""

    job: Annotated[str, Meta(description=f"Only this job's. {_REPEATED}")] | None = None
    user: Annotated[str, Meta(min_length=1, max_length=MAX_USER_LENGTH, description="Only this user's.")] | None = None
    types: Annotated[str, Meta(description=f"Only these types. {_REPEATED}")] | None = None
    provider: Annotated[str, Meta(description=f"Only this provider's. {_REPEATED}")] | None = None
    reference: Annotated[str, Meta(min_length=1, description="Only with this reference.")] | None = None
    snapshot: Annotated[Flag, Meta(description="Say first how the one job is that is asked for.")] | None = None
    place: Annotated[Flag, Meta(description="Say first where in the stream this begins.")] | None = None
    seconds: Annotated[float, Meta(gt=0, le=LONGEST_SECONDS, description="End after so many.")] | None = None


class FilterModel(msgspec.Struct, forbid_unknown_fields=True):
    """A filter as JSON: each member one text or a list of them."""

    job: str | list[str] = []
    user: str | list[str] = []
    types: str | list[str] = []
    provider: str | list[str] = []
    reference: str | list[str] = []
    snapshot: bool = False

    def checked(self) -> StreamFilter:
        """As a value of ours. Raises ``InvalidRequest``."""
        names = ("job", "user", "types", "provider", "reference")
        chosen = {name: getattr(self, name) for name in names}
        return _checked({name: [each] if isinstance(each, str) else each for name, each in chosen.items()})


def read_filter(query: QueryParams) -> StreamFilter:
    """The filter in a query. Members may be repeated; where no name of theirs has a comma, a comma parts them too.

    Raises ``InvalidRequest``.
    """
    unknown = sorted(set(query) - set(_KNOWN))
    if unknown:
        raise InvalidRequest(unknown[0], query[unknown[0]], f"what can be asked for is {', '.join(_KNOWN)}")
    chosen = {name: query.getlist(name) for name in ("job", "user", "types", "provider", "reference")}
    for name in ("job", "types", "provider"):
        chosen[name] = [part.strip() for text in chosen[name] for part in text.split(",")]
    return _checked(chosen)


def read_seconds(text: str | None) -> float | None:
    """After how long the stream is to end. Raises ``InvalidRequest``."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= LONGEST_SECONDS:
        raise InvalidRequest("seconds", text, f"a number above 0, up to {LONGEST_SECONDS:.0f}")
    return value


def read_flag(name: str, text: str | None) -> bool:
    """Whether what ``name`` calls is wanted too. Raises ``InvalidRequest``."""
    if text not in (None, "true", "false"):
        raise InvalidRequest(name, text, "true or false")
    return text == "true"


def read_cursor(text: str | None) -> int | None:
    """The place that ``Last-Event-ID`` names, if it is there. Raises ``InvalidRequest``."""
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidRequest("Last-Event-ID", text, "an id that this stream has sent, or 0")
    return int(text)


def _checked(chosen: Mapping[str, Sequence[str]]) -> StreamFilter:
    for name, values in chosen.items():
        if len(values) > MAX_CHOSEN:
            raise InvalidRequest(name, f"{len(values)} of them", f"at most {MAX_CHOSEN}")
    for user in chosen["user"]:
        if not 0 < len(user) <= MAX_USER_LENGTH:
            raise InvalidRequest("user", user[:64], f"a text of 1 to {MAX_USER_LENGTH} characters")
    for reference in chosen["reference"]:
        checked_reference(reference, field="reference")
    _one_of("types", chosen["types"], [kind.value for kind in NotificationType])
    _one_of("provider", chosen["provider"], sorted(PROVIDERS))
    return StreamFilter(
        jobs=frozenset(chosen["job"]),
        users=frozenset(chosen["user"]),
        types=frozenset(chosen["types"]),
        providers=frozenset(chosen["provider"]),
        references=frozenset(chosen["reference"]),
    )


def _one_of(field: str, values: Sequence[str], known: Collection[str]) -> None:
    for value in values:
        if value not in known:
            raise InvalidRequest(field, value[:64], f"of {', '.join(known)}")
