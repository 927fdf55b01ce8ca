"""How long a submit waits where a provider works on as much as it takes: decided here, waited by the clients."""

from collections.abc import Callable

from replyhook.errors import RateLimited

SHORTEST_PAUSE_SECONDS = 1.0
"""A provider that says "at once" and goes on refusing is not asked more often than this."""


class Patience:
    """At most ``seconds`` from the first refusal on, in all, however many providers refuse. 0 does not wait.

    ``clock`` counts seconds, ``jitter`` draws from 0 to 1.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._jitter = jitter
        self._end: float | None = None

    def next_pause(self, error: RateLimited, usual: tuple[float, float] | None) -> float | None:
        """Seconds to wait before the same is asked again; None when that would take too long, or is not wanted.

        The refusal's own Retry-After goes before the provider's ``usual`` pause, which is drawn from a range.
        """
        if self._end is None:
            self._end = self._clock() + self._seconds
        left = self._end - self._clock()
        if error.retry_after is not None:
            shortest = longest = max(error.retry_after.total_seconds(), SHORTEST_PAUSE_SECONDS)
        elif usual is not None:
            shortest, longest = usual
        else:
            return None
        return None if shortest > left else min(shortest + (longest - shortest) * self._jitter(), left)
