"""When to try again: a pure value. One policy type for downloads, deliveries and questions to providers."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A ladder of waits, in seconds, one between each two attempts. ``jitter`` is the share that may be added."""

    delays: tuple[float, ...]
    jitter: float = 0.2

    @property
    def attempts(self) -> int:
        """How often something is tried at most."""
        return len(self.delays) + 1

    def next_delay(
        self, *, attempt: int, retryable: bool, luck: float, retry_after: timedelta | None = None
    ) -> float | None:
        """Seconds until the next try, or None for a dead letter.

        ``attempt`` counts from 1; ``luck`` is between 0 and 1; what the other side asked for (``retry_after``) is the
        least, up to a day.
        """
        if not retryable or attempt > len(self.delays):
            return None
        delay = self.delays[attempt - 1] * (1 + self.jitter * luck)
        asked = min(retry_after.total_seconds(), 86_400.0) if retry_after else 0.0
        return max(delay, asked)


# 5 s, 1 min, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 24 h: about 2.3 days in all.
DELIVERIES = RetryPolicy(delays=(5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 86_400))

# An endpoint that failed so often in a row is tried by one delivery at a time, further and further apart.
PROBED_AFTER = 5
_PROBES = (5, 10, 20, 40, 80, 160, 300)
LONGEST_PAUSE = timedelta(days=1)
DISABLED_AFTER = timedelta(days=1)  # of nothing but failures


def probe_pause(failures: int) -> timedelta:
    """How long an endpoint is left alone after so many failures in a row."""
    if failures < PROBED_AFTER:
        return timedelta(0)
    return timedelta(seconds=_PROBES[min(failures - PROBED_AFTER, len(_PROBES) - 1)])


# Fast at first: an unknown link may live only an hour (PROVIDERS §9.6).
DOWNLOADS = RetryPolicy(delays=(1, 5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 14_400))

# A provider that says "done" without the result has it a moment later; three questions at most (P8). About a job that
# is overdue no more are asked, but further apart: the question says by how much (``deadlines.next_question``).
RESULTS = RetryPolicy(delays=(5, 60))

# A relayed submit is sent once; only a fault of ours before it was begun brings it here again.
RELAYS = RetryPolicy(delays=(1, 10, 60))
