"""A database as every part of the store stands on it: writes that are on disk when they return, and reads."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from replyhook_receiver.records import Accepted, Report
from replyhook_receiver.stores.sql.batch import AcceptAll
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.writer import Settle, Writer

T = TypeVar("T")

ONLY_READ = "the database is only read here: ask the running receiver to change something"


class Database(Protocol):
    """One database, open. ``write`` returns only after its commit is on disk, or raises.

    All raise ``StoreUnavailable`` when the database cannot; the same call may then be made again.
    """

    async def open(self) -> None:
        """Connect, bring the schema up to date, check that what we rely on is in force."""
        ...

    async def open_to_read(self) -> None:
        """Connect for reading alone: the schema stays, and what would write raises ``StoreUnavailable``.

        Raises ``ConfigurationError``.
        """
        ...

    async def close(self) -> None:
        """Finish what was taken on, then disconnect."""
        ...

    async def check(self) -> bool:
        """Whether writes are taken and reach the disk, told soon; costs no write unless one has failed."""
        ...

    @property
    def writer(self) -> Writer:
        """Raises ``StoreUnavailable`` while it is not open."""
        ...

    async def accept(self, report: Report) -> Accepted:
        """Keep a report, together with all others that wait."""
        ...

    def accept_then(self, report: Report, settle: Settle) -> None:
        """Keep a report likewise, and let ``settle`` hear of it on the event loop."""
        ...

    async def write(self, work: Callable[[Raw], T]) -> T:
        """Run ``work`` in the next commit, under a savepoint of its own. Raises what it raises."""
        ...

    async def read(self, work: Callable[[Raw], T]) -> T:
        """Run ``work`` on a connection that cannot write."""
        ...

    async def overwrite_removed(self) -> None:
        """Let what is removed from now on be overwritten too, where the database would only unlink it."""
        ...


class MakeDatabase(Protocol):
    """Makes the database of a store, which gives it the way that reports go and what follows a commit."""

    def __call__(self, *, accept_all: AcceptAll, after_commit: Callable[[], None]) -> Database:
        """The database, not open yet."""
        ...
