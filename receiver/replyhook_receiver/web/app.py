"""How the receiver is put together, and what starts and stops with it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook.providers import PROVIDERS, Provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.channels.registry import make_channels
from replyhook_receiver.config import Settings, is_loopback
from replyhook_receiver.counters import Questions, Refusals
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.ingest import Ingest
from replyhook_receiver.jwks import KeySet
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.net import Door
from replyhook_receiver.own_secrets import Secrets, secrets_for
from replyhook_receiver.retries import DELIVERIES, DOWNLOADS, RELAYS, RESULTS
from replyhook_receiver.standing import settle_endpoints
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.storage.chosen import storage_for
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.sqlite import SQLiteStore
from replyhook_receiver.stream import Stream
from replyhook_receiver.video_links import VideoLinks
from replyhook_receiver.web.access_log import AccessLog
from replyhook_receiver.web.api import JobApi
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.callbacks import Callbacks
from replyhook_receiver.web.deliveries import DeliveryApi
from replyhook_receiver.web.downloads import DownloadApi
from replyhook_receiver.web.endpoints import EndpointApi
from replyhook_receiver.web.health import health_routes
from replyhook_receiver.web.idempotency import Idempotency
from replyhook_receiver.web.inspection import Inspection
from replyhook_receiver.web.limits import FailureLimiter
from replyhook_receiver.web.live import StreamApi
from replyhook_receiver.web.problems import HANDLERS
from replyhook_receiver.web.stream_links import StreamLinks
from replyhook_receiver.web.videos import Videos
from replyhook_receiver.work.asking import Asker
from replyhook_receiver.work.confirming import HostConfirmer
from replyhook_receiver.work.download import Download
from replyhook_receiver.work.expiring import tell_last_call
from replyhook_receiver.work.fetching import Fetcher
from replyhook_receiver.work.notify import Notify
from replyhook_receiver.work.queueing import DownloadQueue
from replyhook_receiver.work.receiving import Bounds
from replyhook_receiver.work.reconcile import FetchResult, Reconcile
from replyhook_receiver.work.refreshing import LinkRefresher
from replyhook_receiver.work.relay import Relay
from replyhook_receiver.work.worker import Handler, Worker

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    secrets: Secrets | None = None,
    now: Clock = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    with_worker: bool = True,
) -> Starlette:
    """The receiver as an application; everything it needs opens and closes with its lifespan.

    ``secrets`` are ``secrets_for(settings)`` when left out. Without the worker, callbacks are kept and their tasks
    wait. Raises ``ConfigurationError``.
    """
    secrets = secrets or secrets_for(settings)
    public_url = public_url_of(settings)
    _check_reply_urls(public_url, secrets, now())
    providers = settings.make_providers()
    personal = frozenset(name for name, provider in providers.items() if provider.capabilities.id_is_personal)
    lifetime = timedelta(seconds=settings.video_link_seconds)
    links = VideoLinks(secrets.signing_keys, public_url=public_url, lifetime=lifetime)
    capabilities = {name: provider.capabilities for name, provider in providers.items()}
    announcer = Announcer(public_url=public_url, personal=personal, links=links, capabilities=capabilities)
    deadlines = Deadlines(capabilities.values())
    max_jobs = {name: provider.max_jobs for name, provider in providers.items()}
    store = SQLiteStore(
        settings.database_path,
        describe=announcer.body,
        deadlines=deadlines,
        max_jobs=max_jobs,
        at_one_endpoint=settings.endpoint_concurrency,
    )
    storage = storage_for(settings)
    door = Door(allowed_networks=settings.allowed_networks)
    channels = make_channels(settings, door=door, secrets=secrets.notification_secrets)
    tokens = TokenKeys(secrets.signing_keys)
    refusals = Refusals()
    questions = Questions()
    asker = Asker(door=door, providers=providers, questions=questions)
    key_sets = _key_sets(providers, door, now, monotonic)
    ingest = Ingest(
        providers=providers,
        tokens=tokens,
        reply_keys=settings.make_reply_keys(),
        max_detached_jobs=settings.max_detached_jobs,
        key_sets=key_sets,
        store=store,
        refusals=refusals,
        now=now,
    )
    stream = Stream(store)
    bounds = Bounds(max_bytes=settings.max_video_bytes, bytes_per_second=settings.slowest_download_bytes_per_second)
    download = Download(
        store=store,
        storage=storage,
        fetcher=Fetcher(door=door, storage=storage, bounds=bounds, min_free_bytes=settings.min_free_disk_bytes),
        providers=providers,
        confirmer=HostConfirmer(asker),
        refresher=LinkRefresher(store=store, asker=asker, now=now),
    )
    queue = DownloadQueue(
        links=store.links,
        storage=storage,
        per_host=settings.downloads_per_host,
        min_free_bytes=settings.min_free_disk_bytes,
    )
    worker = Worker(
        store=store,
        now=now,
        handlers={
            TaskKind.DOWNLOAD: Handler(
                run=download,
                policy=DOWNLOADS,
                concurrency=settings.download_concurrency,
                claims=queue,
                give_up=download.give_up,
            ),
            TaskKind.NOTIFY: Handler(
                run=Notify(deliveries=store.deliveries, channels=channels, now=now),
                policy=DELIVERIES,
                concurrency=settings.delivery_concurrency,
            ),
            TaskKind.RELAY: Handler(
                run=Relay(
                    store=store,
                    storage=storage,
                    door=door,
                    providers=providers,
                    tokens=tokens,
                    public_url=public_url,
                    bounds=bounds,
                    patience_seconds=settings.relay_patience_seconds,
                    now=now,
                ),
                policy=RELAYS,
                concurrency=settings.relay_concurrency,
            ),
            TaskKind.FETCH_RESULT: Handler(
                run=FetchResult(store=store, asker=asker, now=now), policy=RESULTS, concurrency=4
            ),
            TaskKind.RECONCILE: Handler(
                run=Reconcile(store=store, asker=asker, deadlines=deadlines, questions=questions, now=now),
                policy=RESULTS,
                concurrency=4,
            ),
            TaskKind.EXPIRING: Handler(run=tell_last_call, policy=RESULTS, concurrency=4),
        },
    )
    store.on_change(tasks=worker.wake, notifications=stream.nudge)
    api = JobApi(
        store=store,
        channels=channels,
        tokens=tokens,
        announcer=announcer,
        refusals=refusals,
        questions=questions,
        public_url=public_url,
        providers=providers,
        idempotency=Idempotency(store.idempotency, now=now),
        now=now,
    )
    live = StreamApi(
        stream=stream,
        store=store,
        announcer=announcer,
        links=StreamLinks(tokens=tokens, public_url=public_url),
        now=now,
    )
    videos = Videos(store=store, storage=storage, links=links, redirects=settings.storage_redirects, now=now)
    keys = ApiKeys(secrets.api_keys)
    inspection = Inspection(
        store=store,
        announcer=announcer,
        providers=providers,
        tokens=tokens,
        public_url=public_url,
        personal=personal,
        now=now,
    )
    routes: list[Route] = [
        *api.routes(keys),
        *EndpointApi(endpoints=store.endpoints, channels=channels, now=now).routes(keys),
        *DeliveryApi(deliveries=store.deliveries, now=now).routes(keys),
        *inspection.routes(keys),
        *videos.routes(keys),
        *live.routes(keys),
        *DownloadApi(links=store.links, state=lambda: queue.state).routes(keys),
        *health_routes(store, worker if with_worker else None, lambda: queue.state),
    ]

    async def settle_standing() -> None:
        wanted = [endpoint.wanted() for endpoint in settings.endpoints]
        await settle_endpoints(wanted, endpoints=store.endpoints, channels=channels, now=now())

    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(
                Callbacks,
                ingest=ingest,
                limiter=FailureLimiter(per_minute=settings.refusals_per_minute),
                trusted_proxies=settings.trusted_networks,
                max_body_bytes=settings.max_callback_bytes,
                max_held_bytes=settings.max_held_bytes,
            ),
            Middleware(AccessLog, routes=routes),
        ],
        exception_handlers=HANDLERS,
        lifespan=_lifespan(
            store,
            storage,
            door,
            ingest,
            worker if with_worker else None,
            download,
            stream,
            key_sets,
            settle_standing,
        ),
    )
    # A redirect to the same path with a slash would repeat a token in a header.
    app.router.redirect_slashes = False
    app.state.before_shutdown = stream.close
    app.state.store = store
    return app


def public_url_of(settings: Settings) -> str:
    """Where providers call back. Raises ``ConfigurationError`` where that has to be said."""
    if not settings.public_url and not is_loopback(settings.host):
        raise ConfigurationError(
            f"listening on {settings.host} needs REPLYHOOK_PUBLIC_URL: the https:// address that providers call back on"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


def _check_reply_urls(public_url: str, secrets: Secrets, now: datetime) -> None:
    """Say now, not at the first job, that reply URLs would grow too long."""
    tokens = TokenKeys(secrets.signing_keys)
    for name in PROVIDERS:
        build_reply_url(public_url, provider=name, token=tokens.mint(provider=name, job_id=new_id("job"), now=now))


def _key_sets(
    providers: dict[str, Provider], door: Door, now: Clock, monotonic: Callable[[], float]
) -> dict[str, KeySet]:
    urls = {name: provider.jwks_url for name, provider in providers.items()}
    return {name: KeySet(url, door=door, now=now, monotonic=monotonic) for name, url in urls.items() if url}


def _lifespan(
    store: Store,
    storage: Storage,
    door: Door,
    ingest: Ingest,
    worker: Worker | None,
    download: Download,
    stream: Stream,
    key_sets: dict[str, KeySet],
    settle_standing: Callable[[], Awaitable[None]],
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(door)
            stack.push_async_callback(store.close)
            await store.open()
            await settle_standing()
            await to_thread.run_sync(storage.sweep)
            for key_set in key_sets.values():
                stack.push_async_callback(key_set.close)
            await ingest.start()
            if worker is not None:
                await download.clear_up()
                stack.push_async_callback(worker.stop)
                await worker.start()
            stack.push_async_callback(stream.stop)
            yield

    return lifespan
