"""The receiver's own program with one thing changed: `python launcher.py CHANGE serve …`.

What a test needs to see otherwise is changed here, so that the product needs no setting for it.
"""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any


def short_leases() -> None:
    """What a killed process held is taken over soon, so that a test need not wait half a minute."""
    from replyhook_receiver.work import worker

    worker.LEASE = timedelta(seconds=2)
    worker._RENEW_SECONDS = 0.5


def quick_downloads() -> None:
    """The same, and a download is tried again at once, often: cuts and kills are many here."""
    from replyhook_receiver.retries import RetryPolicy
    from replyhook_receiver.web import working

    short_leases()
    working.DOWNLOADS = RetryPolicy(delays=(0.05,) * 60)


def without_fsync() -> None:
    """A commit is not synced (`synchronous = NORMAL`), after the receiver has checked that it is."""
    from replyhook_receiver.stores.sqlite import database

    connect = database.connect

    async def weaker(path: Path, **more: Any) -> Any:
        connection = await connect(path, **more)
        await connection.work(lambda raw: raw.execute("PRAGMA synchronous = NORMAL"))
        return connection

    database.connect = weaker


def short_waits() -> None:
    """Short leases, and a delivery that was refused is tried again soon, so that all is over in a minute."""
    from replyhook_receiver import retries

    short_leases()
    retries.DELIVERIES = retries.RetryPolicy(delays=(0.2,) * 40)


def short_statements() -> None:
    """A statement is given up after half a second, so that a test can make one that is slow."""
    from replyhook_receiver.stores.postgres import connection

    short_leases()
    connection.STATEMENT_MILLISECONDS = 500


def slow_copy() -> None:
    """A copy takes a breath after every step, so that a test which kills it then comes in time."""
    from replyhook_receiver.stores import copying

    copy = copying.copy

    def slowly(*sides: Any) -> Iterator[Any]:
        for step in copy(*sides):
            yield step
            time.sleep(0.1)

    copying.copy = slowly


CHANGES: dict[str, Callable[[], None]] = {
    "short-leases": short_leases,
    "quick-downloads": quick_downloads,
    "short-statements": short_statements,
    "short-waits": short_waits,
    "slow-copy": slow_copy,
    "without-fsync": without_fsync,
}

if __name__ == "__main__":
    CHANGES[sys.argv.pop(1)]()
    from replyhook_receiver.__main__ import main

    sys.exit(main())
