"""A process that only works: the same parts as a receiver's, without what providers and programs call."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from anyio import to_thread
from starlette.applications import Starlette

from replyhook_receiver.config import Settings
from replyhook_receiver.instance import Instance
from replyhook_receiver.own_secrets import Secrets
from replyhook_receiver.standing import settle_endpoints
from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.health import health_routes
from replyhook_receiver.web.measuring import metrics_routes
from replyhook_receiver.web.parts import Clock, make_parts
from replyhook_receiver.web.problems import HANDLERS
from replyhook_receiver.web.working import make_worker
from replyhook_receiver.work.worker import Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class AtWork:
    """A worker that has begun. ``app`` shows how it is: `/healthz`, `/readyz` and `/metrics`."""

    worker: Worker
    app: Starlette


@asynccontextmanager
async def at_work(settings: Settings, *, secrets: Secrets, now: Clock) -> AsyncIterator[AtWork]:
    """Work while the context lasts. Raises ``ConfigurationError``."""
    parts = make_parts(settings, secrets, now)
    store = parts.store
    working = make_worker(parts)
    store.on_change(tasks=working.worker.wake, notifications=lambda: None)
    keys = ApiKeys(
        secrets.api_keys,
        kept=store.keys,
        owners=store.owners,
        now=now,
        requests_per_minute=settings.requests_per_minute,
    )
    queue = working.queue
    app = Starlette(
        routes=[
            *metrics_routes(parts, Stream(store), keys),
            *health_routes(store, working.worker, lambda: queue.state, instance=Instance.fresh(), now=now),
        ],
        exception_handlers=HANDLERS,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(parts.door)
        stack.push_async_callback(store.close)
        await store.open()
        stack.push_async_callback(keys.close)
        wanted = [endpoint.wanted() for endpoint in settings.endpoints]
        await settle_endpoints(wanted, endpoints=store.endpoints, channels=parts.channels, now=now())
        await to_thread.run_sync(parts.storage.sweep)
        await stack.enter_async_context(working.at_work())
        yield AtWork(worker=working.worker, app=app)
