"""The Erasing protocol: everything of one user goes, and does not come back."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol


class Erasing(Protocol):
    """Removes a user's jobs with all that was told and kept of them. All raise ``StoreUnavailable``.

    What remains of a job is its id, so that its token never makes it again.
    """

    async def count(self, user: str) -> int:
        """How many jobs of a user there are."""
        ...

    def erase(self, user: str, *, now: datetime) -> AsyncIterator[str]:
        """Erase, in short commits; the ids of the jobs as each is gone. Their videos become unwanted in storage."""
        ...
