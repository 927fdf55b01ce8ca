"""The worker of a process: who does each kind of task, how many at a time, and when it is tried again."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from anyio import to_thread

from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.media_pool import warm_up
from replyhook_receiver.retries import DELIVERIES, DOWNLOADS, RELAYS, RESULTS
from replyhook_receiver.web.parts import Parts
from replyhook_receiver.work.beating import Heartbeat
from replyhook_receiver.work.capping import Capped
from replyhook_receiver.work.confirming import HostConfirmer
from replyhook_receiver.work.download import Download
from replyhook_receiver.work.expiring import tell_last_call
from replyhook_receiver.work.fetching import Fetcher
from replyhook_receiver.work.hosts import MediaHosts
from replyhook_receiver.work.housekeeping import Housekeeping, keep_for
from replyhook_receiver.work.notify import Notify
from replyhook_receiver.work.queueing import DownloadQueue
from replyhook_receiver.work.receiving import Bounds
from replyhook_receiver.work.reconcile import FetchResult, Reconcile
from replyhook_receiver.work.refreshing import LinkRefresher
from replyhook_receiver.work.relay import Relay
from replyhook_receiver.work.storage_state import StorageState
from replyhook_receiver.work.turns import Turns
from replyhook_receiver.work.worker import Handler, Worker

_QUESTIONS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """The worker, and what others ask of its downloads. ``heartbeat`` where several share the database."""

    worker: Worker
    download: Download
    queue: DownloadQueue
    housekeeping: Housekeeping
    heartbeat: Heartbeat | None

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Work while the context lasts, on a store that is open. What is under way at its end is put back."""
        async with AsyncExitStack() as stack:
            await to_thread.run_sync(warm_up)
            await self.download.clear_up()
            if self.heartbeat is not None:
                stack.push_async_callback(self.heartbeat.stop)
                await self.heartbeat.start()
            stack.push_async_callback(self.worker.stop)
            await self.worker.start()
            stack.push_async_callback(self.housekeeping.stop)
            self.housekeeping.start()
            yield


def make_worker(parts: Parts) -> Working:
    """The worker over ``parts``; it is not started."""
    settings, store, now = parts.settings, parts.store, parts.now
    bounds = Bounds(max_bytes=settings.max_video_bytes, bytes_per_second=settings.slowest_download_bytes_per_second)
    hosts = MediaHosts(entry for each in parts.providers.values() for entry in each.capabilities.media_hosts)
    turns = Turns(
        links=store.links,
        counted_as=hosts.counted_as,
        places=settings.download_concurrency,
        per_host=settings.downloads_per_host,
        now=now,
    )
    storage_state = StorageState()
    download = _download(parts, bounds, turns, storage_state)
    queue = DownloadQueue(
        links=store.links,
        storage=parts.storage,
        storage_state=storage_state,
        at_once=settings.download_concurrency,
        per_host=settings.downloads_per_host,
        min_free_bytes=settings.min_free_disk_bytes,
        counted_as=hosts.counted_as,
    )
    relay = Relay(
        store=store,
        storage=parts.storage,
        door=parts.door,
        providers=parts.providers,
        tokens=parts.tokens,
        public_url=parts.public_url,
        bounds=bounds,
        patience_seconds=settings.relay_patience_seconds,
        min_free_bytes=settings.min_free_disk_bytes,
        now=now,
    )
    reconcile = Reconcile(store=store, asker=parts.asker, deadlines=parts.deadlines, questions=parts.questions, now=now)
    fetch_result = FetchResult(store=store, asker=parts.asker, now=now)
    handlers = {
        TaskKind.DOWNLOAD: Handler(
            run=download,
            policy=DOWNLOADS,
            concurrency=settings.download_concurrency,
            claims=queue,
            give_up=download.give_up,
        ),
        TaskKind.NOTIFY: Handler(
            run=Notify(deliveries=store.deliveries, channels=parts.channels, now=now, tries=parts.measures.deliveries),
            policy=DELIVERIES,
            concurrency=settings.delivery_concurrency,
        ),
        TaskKind.RELAY: Handler(
            run=relay,
            policy=RELAYS,
            concurrency=settings.relay_concurrency,
            claims=Capped(store, TaskKind.RELAY, at_once=settings.relay_concurrency),
        ),
        TaskKind.FETCH_RESULT: Handler(run=fetch_result, policy=RESULTS, concurrency=_QUESTIONS_AT_A_TIME),
        TaskKind.RECONCILE: Handler(run=reconcile, policy=RESULTS, concurrency=_QUESTIONS_AT_A_TIME),
        TaskKind.EXPIRING: Handler(run=tell_last_call, policy=RESULTS, concurrency=_QUESTIONS_AT_A_TIME),
    }
    housekeeping = Housekeeping(store=store, storage=parts.storage, keep=keep_for(settings), now=now)
    worker = Worker(store=store, now=now, handlers=handlers, measures=parts.measures)
    is_shared = settings.postgres_url is not None
    return Working(
        worker=worker,
        download=download,
        queue=queue,
        housekeeping=housekeeping,
        heartbeat=Heartbeat(workers=store.workers, is_healthy=lambda: worker.healthy, now=now) if is_shared else None,
    )


def _download(parts: Parts, bounds: Bounds, turns: Turns, storage_state: StorageState) -> Download:
    min_free_bytes = parts.settings.min_free_disk_bytes
    return Download(
        store=parts.store,
        storage=parts.storage,
        fetcher=Fetcher(door=parts.door, storage=parts.storage, bounds=bounds, min_free_bytes=min_free_bytes),
        providers=parts.providers,
        confirmer=HostConfirmer(parts.asker),
        refresher=LinkRefresher(store=parts.store, asker=parts.asker, now=parts.now),
        turns=turns,
        storage_state=storage_state,
    )
