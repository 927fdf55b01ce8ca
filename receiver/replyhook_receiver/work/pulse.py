"""Whether a loop still goes round: one that waits for work does, one that hangs in a round, or stumbles, does not."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_SECONDS = 30.0
"""No round takes so long: the store itself gives up a write after a few seconds."""


class Pulse:
    """One loop's."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._has_stumbled = False

    @contextmanager
    def round(self) -> Iterator[None]:
        """One time round, without the wait for the next."""
        self._since = time.monotonic()
        try:
            yield
            self._has_stumbled = False
        finally:
            self._since = None

    def stumble(self) -> None:
        """The last round ended by a fault of ours."""
        self._has_stumbled = True

    @property
    def beats(self) -> bool:
        """Whether it is not stuck, and its last round was none that ended by a fault of ours."""
        if self._has_stumbled:
            return False
        return self._since is None or time.monotonic() - self._since < LONGEST_SECONDS
