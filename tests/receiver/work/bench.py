"""A real store, a real door and a worker, without the web around them; retries come at once."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from replyhook.ids import new_id
from replyhook.jobs import JobEvent
from replyhook.providers import make_provider
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.channels.webhook import WebhookChannel
from replyhook_receiver.counters import Questions
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.net import Door
from replyhook_receiver.records import JobRecord, NotifyTarget, Registration
from replyhook_receiver.retries import RetryPolicy
from replyhook_receiver.storage.local import LocalStorage
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.work.asking import Asker
from replyhook_receiver.work.confirming import HostConfirmer
from replyhook_receiver.work.download import Download
from replyhook_receiver.work.expiring import tell_last_call
from replyhook_receiver.work.fetching import Fetcher
from replyhook_receiver.work.hosts import MediaHosts
from replyhook_receiver.work.notify import Notify
from replyhook_receiver.work.queueing import DownloadQueue
from replyhook_receiver.work.receiving import Bounds
from replyhook_receiver.work.reconcile import FetchResult
from replyhook_receiver.work.refreshing import LinkRefresher
from replyhook_receiver.work.storage_state import StorageState
from replyhook_receiver.work.turns import Patience, Turns
from replyhook_receiver.work.worker import Handler, Worker
from tests.contracts.store.material import BUT_OVERDUE, accepted_as, registration, report
from tests.receiver.sqlite_file import lay
from tests.receiver.support import LOOPBACK, WHSEC, Host, until

TRIES = 3
AT_ONCE = RetryPolicy(delays=(0.01,) * (TRIES - 1), jitter=0.0)
OLDER_WHSEC = "whsec_" + "T0xE" * 10
ANNOUNCER = Announcer(
    public_url="https://hooks.example.com",
    personal=frozenset({"useapi"}),
    capabilities={name: make_provider(name).capabilities for name in ("fal", "useapi")},
)


def now() -> datetime:
    """The real clock: what is signed here is checked by others."""
    return datetime.now(UTC)


@dataclass
class Bench:
    """What a test works on. ``requests`` to providers and media hosts are in ``host.seen``."""

    store: SQLiteStore
    database: Path
    folder: Path
    host: Host
    door: Door
    worker: Worker
    handlers: Mapping[TaskKind, Handler]
    download: Download
    queue: DownloadQueue

    async def job(self, provider: str = "fal", *, provider_job_id: str | None = "r-1", **more: Any) -> str:
        """A registered job, submitted when it has a provider job id."""
        job_id = new_id("job")
        contents: Registration = registration(job_id, provider=provider, **({"notify": ()} | more))
        await self.store.register(contents, now=now())
        if provider_job_id:
            await self.store.record_submission(job_id, accepted_as(provider_job_id), now=now())
        return job_id

    async def hears(self, job_id: str, event: JobEvent, provider: str = "fal") -> None:
        """A callback of the provider."""
        await self.store.accept(report(job_id, event, provider=provider, received_at=now()))

    async def known(self, job_id: str) -> JobRecord:
        job = await self.store.job(job_id)
        assert job is not None
        return job

    async def announced(self, job_id: str) -> list[str]:
        return [str(entry.type) for entry in await self.store.notifications(after=0, job_id=job_id)]

    async def at_rest(self, *, seconds: float = 60.0) -> None:
        """Wait until no task is due or held any more."""

        async def is_at_rest() -> bool:
            return await self.store.next_due(now=now(), kinds=BUT_OVERDUE) is None

        await until(is_at_rest, seconds=seconds)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What another process sees in the database."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as raw:
            return raw.execute(statement).fetchall()

    def videos(self) -> list[Path]:
        """The stored videos."""
        return [path for path in self.files() if path.suffix == ".mp4"]

    def files(self) -> list[Path]:
        """Everything in the storage folder."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@asynccontextmanager
async def a_bench(
    tmp_path: Path,
    host: Host,
    *,
    max_bytes: int = 1024 * 1024,
    api_key: str = "provider-geheim",
    media_hosts: tuple[str, ...] = ("127.0.0.1",),
    make_store: type[SQLiteStore] | None = None,
    policy: RetryPolicy = AT_ONCE,
    bounds: Bounds | None = None,
    per_host: int = 4,
    places: int = 4,
    patience: Patience | None = None,
    min_free_bytes: int = 0,
    fetcher_min_free_bytes: int = 0,
) -> AsyncIterator[Bench]:
    """A working bench; ``host`` plays the providers, the media hosts and the users' endpoints."""
    database, folder = lay(tmp_path / "replyhook.db"), tmp_path / "videos"
    store = (make_store or SQLiteStore)(database, describe=ANNOUNCER.body)
    providers = {
        name: make_provider(name, {"base_url": f"{host.url}/{name}", "api_key": api_key, "media_hosts": media_hosts})
        for name in ("fal", "useapi")
    }
    async with Door(allowed_networks=(LOOPBACK,)) as door:
        asker = Asker(door=door, providers=providers, questions=Questions())
        storage, storage_state = LocalStorage(folder), StorageState()
        hosts = MediaHosts(media_hosts)
        turns = Turns(
            links=store.links,
            counted_as=hosts.counted_as,
            places=places,
            per_host=per_host,
            now=now,
            patience=patience,
        )
        download = Download(
            store=store,
            storage=storage,
            fetcher=Fetcher(
                door=door,
                storage=storage,
                bounds=bounds or Bounds(max_bytes=max_bytes),
                min_free_bytes=fetcher_min_free_bytes,
            ),
            providers=providers,
            confirmer=HostConfirmer(asker),
            refresher=LinkRefresher(store=store, asker=asker, now=now),
            turns=turns,
            storage_state=storage_state,
        )
        queue = DownloadQueue(
            links=store.links,
            storage=storage,
            storage_state=storage_state,
            at_once=8,
            per_host=per_host,
            min_free_bytes=min_free_bytes,
            counted_as=hosts.counted_as,
        )
        channel = WebhookChannel(door=door, secrets=(WHSEC, OLDER_WHSEC))
        notify = Notify(deliveries=store.deliveries, channels={"webhook": channel}, now=now)
        fetch_result = FetchResult(store=store, asker=asker, now=now)
        handlers = {
            TaskKind.DOWNLOAD: Handler(
                run=download, policy=policy, concurrency=places, claims=queue, give_up=download.give_up
            ),
            TaskKind.NOTIFY: Handler(run=notify, policy=policy, concurrency=4),
            TaskKind.FETCH_RESULT: Handler(run=fetch_result, policy=policy, concurrency=4),
            TaskKind.EXPIRING: Handler(run=tell_last_call, policy=policy, concurrency=4),
        }
        worker = Worker(store=store, handlers=handlers, now=now)
        store.on_change(tasks=worker.wake, notifications=lambda: None)
        await store.open()
        try:
            await worker.start()
            yield Bench(
                store=store,
                database=database,
                folder=folder,
                host=host,
                door=door,
                worker=worker,
                handlers=handlers,
                download=download,
                queue=queue,
            )
        finally:
            await worker.stop()
            await store.close()


def target(url: str, **more: Any) -> NotifyTarget:
    """A place to notify."""
    return NotifyTarget(url=url, **more)


SOON = timedelta(seconds=5)
