"""How the receiver is put together, and what starts and stops with it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import Said
from replyhook_receiver.ingest import Ingest
from replyhook_receiver.instance import Instance
from replyhook_receiver.jwks import KeySet
from replyhook_receiver.own_secrets import Secrets, secrets_for
from replyhook_receiver.standing import settle_endpoints
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.access_log import AccessLog
from replyhook_receiver.web.api import JobApi
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.body_limits import TooLargeAsProblem
from replyhook_receiver.web.callbacks import CallbackRoute, Callbacks
from replyhook_receiver.web.canceling import CancelApi
from replyhook_receiver.web.dashboard.app import make_dashboard
from replyhook_receiver.web.dashboard.browsers import handlers_for
from replyhook_receiver.web.deeds import Deeds
from replyhook_receiver.web.deliveries import DeliveryApi
from replyhook_receiver.web.downloads import DownloadApi
from replyhook_receiver.web.endpoints import EndpointApi
from replyhook_receiver.web.health import health_routes
from replyhook_receiver.web.holding import HoldApi
from replyhook_receiver.web.idempotency import Idempotency
from replyhook_receiver.web.inspection import Inspection
from replyhook_receiver.web.keys import KeyApi
from replyhook_receiver.web.limits import FailureLimiter
from replyhook_receiver.web.live import StreamApi
from replyhook_receiver.web.measuring import metrics_routes
from replyhook_receiver.web.mounting import Life, OnlyWhileRunning
from replyhook_receiver.web.openapi.operations import check_query
from replyhook_receiver.web.openapi.routes import DocumentApi
from replyhook_receiver.web.parts import Clock, Parts, make_parts
from replyhook_receiver.web.providers import ProviderApi
from replyhook_receiver.web.settings import SettingsApi
from replyhook_receiver.web.steering import SteeringApi
from replyhook_receiver.web.stream_links import StreamLinks
from replyhook_receiver.web.videos import Videos
from replyhook_receiver.web.working import Working, make_worker
from replyhook_receiver.work.canceling import Canceler


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
    instance: Instance | None = None,
    said: Said | None = None,
) -> Starlette:
    """The receiver as an application; everything it needs opens and closes with its lifespan.

    ``secrets`` are ``secrets_for(settings)`` when left out; ``said`` is where the settings come
    from, for those who look at them. Without the worker, callbacks are kept and their tasks
    wait. Raises ``ConfigurationError``.
    """
    parts = make_parts(settings, secrets or secrets_for(settings), now)
    return app_of(parts, monotonic=monotonic, with_worker=with_worker, instance=instance, said=said)


def app_of(
    parts: Parts,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    with_worker: bool = True,
    instance: Instance | None = None,
    said: Said | None = None,
) -> Starlette:
    """The receiver made of ``parts``; the rest is as in ``create_app``."""
    settings, store, now = parts.settings, parts.store, parts.now
    key_sets = _key_sets(parts, monotonic)
    ingest = Ingest(
        providers=parts.providers,
        tokens=parts.tokens,
        reply_keys=settings.make_reply_keys(),
        max_detached_jobs=settings.max_detached_jobs,
        key_sets=key_sets,
        store=store,
        refusals=parts.refusals,
        now=now,
        taken=parts.measures.callbacks,
        tracing=parts.tracing,
    )
    stream = Stream(store)
    working = make_worker(parts)
    keys = ApiKeys(
        parts.secrets.api_keys,
        kept=store.keys,
        owners=store.owners,
        now=now,
        requests_per_minute=settings.requests_per_minute,
        once=Idempotency(store.idempotency, now=now).once,
        check=check_query,
        noted=Deeds(store.audit, store.keys, now=now).noted,
    )
    instance = instance or Instance.fresh()
    life = Life(settings=settings, instance=instance)
    dashboard = make_dashboard(parts, keys, stream)
    routes = _routes(parts, keys, working, stream, with_worker=with_worker, instance=instance)
    routes += ProviderApi(parts, key_sets).routes(keys) + SettingsApi(settings, said).routes(keys)
    routes += DocumentApi(tuple(routes)).routes() + dashboard.routes

    def noticed() -> None:
        stream.nudge()
        dashboard.changes.nudge()

    def ending() -> None:
        stream.close()
        dashboard.changes.close()

    store.on_change(tasks=working.worker.wake, notifications=noticed)
    callbacks = Callbacks(
        ingest=ingest,
        limiter=FailureLimiter(per_minute=settings.refusals_per_minute),
        trusted_proxies=settings.trusted_networks,
        max_body_bytes=settings.max_callback_bytes,
        max_held_bytes=settings.max_held_bytes,
        acknowledged=parts.measures.acks.add if settings.metrics else None,
    )
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(OnlyWhileRunning, life=life),
            Middleware(CallbackRoute, callbacks=callbacks),
            Middleware(AccessLog, routes=routes),
            Middleware(TooLargeAsProblem),
        ],
        exception_handlers=handlers_for(dashboard.ground),
        lifespan=_lifespan(parts, keys, working if with_worker else None, ingest, stream, key_sets, life),
    )
    # A redirect to the same path with a slash would repeat a token in a header.
    app.router.redirect_slashes = False
    app.state.before_shutdown = ending
    app.state.dashboard = dashboard
    app.state.store = store
    app.state.life = life
    app.state.callbacks = callbacks
    return app


def _routes(
    parts: Parts, keys: ApiKeys, working: Working, stream: Stream, *, with_worker: bool, instance: Instance
) -> list[Route]:
    store, now = parts.store, parts.now
    api = JobApi(
        store=store,
        channels=parts.channels,
        tokens=parts.tokens,
        announcer=parts.announcer,
        refusals=parts.refusals,
        questions=parts.questions,
        public_url=parts.public_url,
        providers=parts.providers,
        now=now,
        tracing=parts.tracing,
    )
    inspection = Inspection(
        store=store,
        announcer=parts.announcer,
        providers=parts.providers,
        tokens=parts.tokens,
        public_url=parts.public_url,
        personal=parts.personal,
        now=now,
    )
    redirects = parts.settings.storage_redirects
    videos = Videos(
        store=store,
        storage=parts.storage,
        links=parts.links,
        redirects=redirects,
        now=now,
        folder_to_share=parts.settings.folder_to_share,
    )
    links = StreamLinks(tokens=parts.tokens, public_url=parts.public_url)
    live = StreamApi(stream=stream, store=store, announcer=parts.announcer, links=links, now=now)
    queue = working.queue
    canceler = Canceler(door=parts.door, providers=parts.providers)
    return [
        *api.routes(keys),
        *KeyApi(keys=store.keys, now=now).routes(keys),
        *EndpointApi(endpoints=store.endpoints, channels=parts.channels, now=now).routes(keys),
        *DeliveryApi(deliveries=store.deliveries, windows=store.windows, now=now).routes(keys),
        *CancelApi(store=store, announcer=parts.announcer, canceler=canceler, now=now).routes(keys),
        *inspection.routes(keys),
        *SteeringApi(steering=store.steering, now=now).routes(keys),
        *videos.routes(keys),
        *live.routes(keys),
        *DownloadApi(links=store.links, queue=queue).routes(keys),
        *metrics_routes(parts, stream, keys),
        *HoldApi(holding=store.holding, now=now).routes(keys),
        *health_routes(store, working.worker if with_worker else None, lambda: queue.state, instance=instance, now=now),
    ]


def _key_sets(parts: Parts, monotonic: Callable[[], float]) -> dict[str, KeySet]:
    urls = {name: provider.jwks_url for name, provider in parts.providers.items()}
    return {name: KeySet(url, door=parts.door, now=parts.now, monotonic=monotonic) for name, url in urls.items() if url}


def _lifespan(
    parts: Parts,
    keys: ApiKeys,
    working: Working | None,
    ingest: Ingest,
    stream: Stream,
    key_sets: dict[str, KeySet],
    life: Life,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    store = parts.store

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(parts.door)
            stack.push_async_callback(store.close)
            await store.open()
            if parts.tracing is not None:
                stack.push_async_callback(parts.tracing.stop)
                parts.tracing.start()
            stack.push_async_callback(keys.close)
            wanted = [endpoint.wanted() for endpoint in parts.settings.endpoints]
            await settle_endpoints(wanted, endpoints=store.endpoints, channels=parts.channels, now=parts.now())
            await to_thread.run_sync(parts.storage.sweep)
            for key_set in key_sets.values():
                stack.push_async_callback(key_set.close)
            await ingest.start()
            if working is not None:
                await stack.enter_async_context(working.at_work())
            stack.push_async_callback(stream.stop)
            life.is_running = True
            try:
                yield
            finally:
                life.is_running = False

    return lifespan
