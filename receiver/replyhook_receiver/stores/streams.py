"""What the live stream asks of a store: notifications by place, with what listeners choose them by."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEntry:
    """One notification in its place. ``provider``, ``reference`` and ``user`` are its job's as they are now."""

    sequence: int
    job_id: str
    type: str
    provider: str | None
    reference: str | None = field(repr=False)
    user: str | None = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFilter:
    """Which notifications a listener wants: those of which every member that is not empty holds what is true."""

    jobs: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    references: frozenset[str] = field(default=frozenset(), repr=False)
    users: frozenset[str] = field(default=frozenset(), repr=False)

    def takes(self, entry: StreamEntry) -> bool:
        """Whether ``entry`` is wanted."""
        return (
            (not self.jobs or entry.job_id in self.jobs)
            and (not self.types or entry.type in self.types)
            and (not self.providers or entry.provider in self.providers)
            and (not self.references or entry.reference in self.references)
            and (not self.users or entry.user in self.users)
        )


EVERYTHING = StreamFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPage:
    """Some entries, oldest first. There is no other up to the place ``through``."""

    entries: tuple[StreamEntry, ...]
    through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """The first place that is kept, and the last that was given; ``first`` is ``last + 1`` where none is kept."""

    first: int
    last: int


class StreamStore(Protocol):
    """Reads only; all raise ``StoreUnavailable`` when the database cannot be read."""

    async def page(self, wanted: StreamFilter, *, after: int, through: int, limit: int = 100) -> StreamPage:
        """Wanted entries after one place, up to another; perhaps not all: ``StreamPage.through`` says how far it is."""
        ...

    async def bounds(self) -> StreamBounds:
        """From where to where the stream goes now."""
        ...
