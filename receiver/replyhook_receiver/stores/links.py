"""The Links protocol: which video is fetched next, and what is remembered of the links that videos are fetched from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from replyhook_receiver.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Videos that are not stored yet, those of them that are told to be expiring, and when the next link ends."""

    videos: int
    expiring: int
    next_end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingLink:
    """The link of a download that is due and that nobody holds."""

    url: str
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """How often a link was refused, and how often its job's provider was asked about links."""

    times: int
    questions: int


class Links(Protocol):
    """The links of videos that are not stored yet. All raise ``StoreUnavailable`` when the database cannot."""

    async def date(self) -> None:
        """Work out when links end that were told since the last time, and when that has to be said."""
        ...

    async def claim(
        self,
        *,
        limit: int,
        at_once: int,
        per_host: int,
        counted_as: Callable[[str], str],
        lease: timedelta,
        now: datetime,
    ) -> list[Task]:
        """Take up to ``limit`` due downloads, the link that ends first before the others, as ``Store.claim`` does.

        No more than ``at_once`` are held at a time, and ``per_host`` of one host, by all workers together;
        ``counted_as`` says what a URL's host is counted as.
        """
        ...

    async def held(self, *, now: datetime) -> list[str]:
        """The links of the downloads that are held now, by all workers together."""
        ...

    async def first_waiting(self, *, now: datetime) -> list[WaitingLink]:
        """The links that would be claimed next, if there were places: the one that ends first before the others."""
        ...

    async def count_refusal(self, job_id: str, url: str) -> Refused:
        """Note that a link of this job was refused; how often this one was by now. 0 where another has come since."""
        ...

    async def count_question(self, job_id: str, number: int) -> None:
        """Note how many questions about the links of this job its provider was asked so far."""
        ...

    async def waiting(self) -> Waiting:
        """What is not stored yet."""
        ...

    async def poster(self, job_id: str) -> str | None:
        """The name of a stored video's poster, where there is one."""
        ...
