"""The Endpoints protocol: the registered places to notify, and what is kept for them while they are disabled."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from replyhook_receiver.endpoints import Endpoint, EndpointChange, EndpointOrigin, NewEndpoint


class Endpoints(Protocol):
    """Every method that writes returns only after the write is on disk, or raises ``StoreUnavailable``.

    Those that take an id raise ``UnknownEndpoint`` where there is none, or it was removed.
    """

    async def create(self, endpoint: NewEndpoint, *, now: datetime) -> Endpoint:
        """A new standing endpoint. Raises ``EndpointConflict`` where there are too many."""
        ...

    async def get(self, endpoint_id: str) -> Endpoint:
        """One endpoint, standing or a job's."""
        ...

    async def list(
        self,
        *,
        user: str | None = None,
        job_id: str | None = None,
        origin: EndpointOrigin | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Endpoint]:
        """Standing endpoints, newest first, or one job's; those before the id ``before``, where it is given."""
        ...

    async def change(self, endpoint_id: str, change: EndpointChange) -> Endpoint:
        """Make it different."""
        ...

    async def disable(self, endpoint_id: str, why: str, *, now: datetime) -> Endpoint:
        """Bring it nothing more. What happens within 7 days is kept for it."""
        ...

    async def enable(self, endpoint_id: str, *, now: datetime) -> Endpoint:
        """Bring it what is new again, and what was kept within the last 7 days; what is older is given up."""
        ...

    async def rotate(self, endpoint_id: str, secret: str, *, overlap: timedelta, now: datetime) -> Endpoint:
        """Sign with ``secret`` from now on, and with those before for ``overlap`` as well."""
        ...

    async def remove(self, endpoint_id: str, *, now: datetime) -> None:
        """Forget it. Its undelivered notifications are given up; the record of the others stays."""
        ...

    async def synchronise(self, wanted: Sequence[NewEndpoint], *, now: datetime) -> None:
        """Let the endpoints of the settings be ``wanted``, known by their names; others of theirs are disabled."""
        ...
