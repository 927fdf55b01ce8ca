"""What is counted for /metrics while the receiver runs: cheap to add to, read when somebody asks."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence

ACK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_WAITING = 4_096
MOST_ENDPOINTS = 500
A_JOBS_OWN = "a job's own"
OTHER_ENDPOINTS = "others"


class Acks:
    """How long callbacks waited for their answer. ``add`` only appends; they are sorted into buckets many at a time."""

    def __init__(self) -> None:
        self._fresh: list[float] = []
        self._buckets = [0] * (len(ACK_BUCKETS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """One was answered ``ok``."""
        self._fresh.append(seconds)
        if len(self._fresh) >= _WAITING:
            self._sort()

    def read(self) -> tuple[Sequence[int], float]:
        """How many were within each bucket's bound and not the one before, the last without bound; and their sum."""
        self._sort()
        return list(self._buckets), self._sum

    def _sort(self) -> None:
        fresh, self._fresh = self._fresh, []
        for seconds in fresh:
            self._buckets[bisect_left(ACK_BUCKETS, seconds)] += 1
        self._sum += sum(fresh)


class DeliveryTries:
    """Tries at deliveries by channel, endpoint and outcome: delivered, failed.

    The endpoints of single jobs count as one, and so do those beyond the first ``MOST_ENDPOINTS`` of a process: each is
    a series of its own for whoever keeps the figures.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._endpoints: set[str] = set()

    def add(self, channel: str, endpoint: str | None, outcome: str) -> None:
        """One has ended, at the endpoint of that id, or at a job's own."""
        if endpoint is not None and endpoint not in self._endpoints:
            if len(self._endpoints) < MOST_ENDPOINTS:
                self._endpoints.add(endpoint)
            else:
                endpoint = OTHER_ENDPOINTS
        self._counts[channel, endpoint or A_JOBS_OWN, outcome] += 1

    def read(self) -> dict[tuple[str, str, str], int]:
        """How many there were of each."""
        return dict(self._counts)


class Measures:
    """The counts of one process."""

    def __init__(self) -> None:
        self.acks = Acks()
        self.callbacks: Counter[tuple[str, str, str]] = Counter()
        """By provider, trust and verdict; an orphan's verdict is ``orphan``."""
        self.tries: Counter[tuple[str, str]] = Counter()
        """Tries at tasks by kind and outcome: done, retry, dead, not_now."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Spent on tasks, by kind."""
        self.deliveries = DeliveryTries()
        self.downloaded_bytes = 0
