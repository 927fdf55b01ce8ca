"""`/metrics` for Prometheus, where it is switched on: read at each scrape from counts that cost next to nothing."""

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import ConfigurationError
from replyhook_receiver.counters import Questions, Refusals
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.measures import ACK_BUCKETS, Measures
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.gauges import Levels
from replyhook_receiver.stores.links import Waiting
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys, Endpoint
from replyhook_receiver.web.problems import problem

if TYPE_CHECKING:
    from prometheus_client.core import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything of one moment."""

    now: datetime
    levels: Levels
    waiting: Waiting
    held: bool
    listeners: int
    workers: int | None


class MetricsApi:
    """What the endpoint stands on. ``token`` is a key for scrapers alone; without it an API key is asked for.

    ``shared`` says that others may do the work of the same database.

    Raises ``ConfigurationError`` where what it needs is not installed.
    """

    def __init__(
        self,
        *,
        store: Store,
        stream: Stream,
        measures: Measures,
        refusals: Refusals,
        questions: Questions,
        token: str,
        now: Callable[[], datetime],
        shared: bool = False,
    ) -> None:
        if find_spec("prometheus_client") is None:
            raise ConfigurationError(f"metrics = true needs one package more: {how_to_install('metrics')}")
        self._store = store
        self._stream = stream
        self._measures = measures
        self._refusals = refusals
        self._questions = questions
        self._token = token
        self._now = now
        self._shared = shared

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The route, for those with the token, or with a key."""
        guarded = self._guard(self.show) if self._token else keys.guard(self.show)
        return [Route("/metrics", guarded, methods=["GET"])]

    def _guard(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token.encode()):
                headers = {"www-authenticate": 'Bearer realm="replyhook"'}
                return problem(401, "this needs the metrics_token: Authorization: Bearer …", headers=headers)
            return await endpoint(request)

        return guarded

    async def show(self, _: Request) -> Response:
        """All of them, in Prometheus' text form."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

        found = list(self._counted())
        try:
            found += levels(await self._snapshot())
            is_up = await self._store.check()
        except StoreUnavailable:  # what this process has counted is told all the same
            is_up = False
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected([*found, _store_up(is_up)]))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def _snapshot(self) -> Snapshot:
        now = self._now()
        return Snapshot(
            now=now,
            levels=await self._store.gauges.levels(),
            waiting=await self._store.links.waiting(),
            held=await self._store.holding.status() is not None,
            listeners=self._stream.listeners,
            workers=len(await self._store.workers.beating(now=now)) if self._shared else None,
        )

    def _counted(self) -> "Iterator[Metric]":
        measures = self._measures
        yield _acks(measures)
        refused = self._refusals.by_provider()
        asked = self._questions.by_provider()
        yield _counter(
            "callbacks", "Callbacks kept.", ("provider", "trust", "verdict"), dict(measures.callbacks.items())
        )
        yield _counter(
            "verification_failures",
            "Callbacks that were not believed or could not be checked.",
            ("provider", "reason"),
            {(name, reason): count for name, reasons in refused.items() for reason, count in reasons.items()},
        )
        yield _counter("task_tries", "Ended tries at tasks.", ("kind", "outcome"), dict(measures.tries.items()))
        yield _counter(
            "task_seconds", "Spent on tasks.", ("kind",), {(kind,): each for kind, each in measures.seconds.items()}
        )
        yield _counter("download_bytes", "Of videos that were stored.", (), {(): measures.downloaded_bytes})
        yield _counter(
            "delivery_tries",
            "Ended tries at deliveries.",
            ("channel", "endpoint", "outcome"),
            measures.deliveries.read(),
        )
        for what, words in (("recovered", "settled by asking"), ("lost", "that nobody will ask about again")):
            values = {(name,): float(str(counts[what])) for name, counts in asked.items()}
            yield _counter(f"overdue_{what}", f"Overdue jobs {words}.", ("provider",), values)


def _acks(measures: Measures) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    counts, total = measures.acks.read()
    bounds = [*(str(bound) for bound in ACK_BUCKETS), "+Inf"]
    family = HistogramMetricFamily("replyhook_ack_seconds", "From a callback's arrival to its ok, on disk.")
    family.add_metric([], list(zip(bounds, accumulate(counts), strict=True)), total)
    return family


def _counter(name: str, words: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"replyhook_{name}", words, labels=labels)
    for names, value in sorted(values.items()):
        family.add_metric(names, value)
    return family


def _store_up(is_up: bool) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    words = "1 while the database is read and written; without it the figures that stand there are left out."
    return GaugeMetricFamily("replyhook_store_up", words, value=float(is_up))


def levels(snapshot: Snapshot) -> "Iterator[Metric]":
    """What goes up and down."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    at, now = snapshot.levels, snapshot.now
    depth = GaugeMetricFamily("replyhook_queue_depth", "Tasks that wait.", labels=("kind",))
    age = GaugeMetricFamily("replyhook_queue_oldest_seconds", "How long the oldest is past its time.", labels=("kind",))
    for queue in at.queues:
        depth.add_metric((queue.kind,), queue.depth)
        overdue = 0.0 if queue.oldest_due is None else (now - queue.oldest_due).total_seconds()
        age.add_metric((queue.kind,), max(overdue, 0.0))
    yield from (depth, age)
    yield CounterMetricFamily("replyhook_store_writes", "Writes that were committed.", value=at.writes)
    yield CounterMetricFamily("replyhook_store_commits", "Commits; writes by commits is the batch.", value=at.commits)
    simple = {
        "store_waiting_writes": ("Writes that wait for their commit.", float(at.waiting_writes)),
        "dead_deliveries": ("Deliveries that were given up.", float(at.dead_deliveries)),
        "videos_not_stored": ("Videos that were paid for and are not stored yet.", float(snapshot.waiting.videos)),
        "stream_listeners": ("Listeners of the live stream.", float(snapshot.listeners)),
        "on_hold": ("1 while the work is paused.", float(snapshot.held)),
    }
    if snapshot.workers is not None:
        simple["workers"] = ("Processes that do the work of this database.", float(snapshot.workers))
    for name, (words, value) in simple.items():
        yield GaugeMetricFamily(f"replyhook_{name}", words, value=value)
    end = snapshot.waiting.next_end
    left = GaugeMetricFamily("replyhook_next_link_end_minutes", "Until the next link of a video not stored ends.")
    if end is not None:
        left.add_metric([], (end - now).total_seconds() / 60)
    yield left


class _Collected:
    """What was collected already, in the form that the client asks for."""

    def __init__(self, found: "list[Metric]") -> None:
        self._found = found

    def collect(self) -> "list[Metric]":
        """All of it."""
        return self._found
