"""What the receiver is made of, built from its settings: each part once, for all who need it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook.providers import PROVIDERS, Provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.channels.registry import Channels, make_channels
from replyhook_receiver.config import Settings, is_loopback
from replyhook_receiver.counters import Questions, Refusals
from replyhook_receiver.deadlines import Deadlines
from replyhook_receiver.measures import Measures
from replyhook_receiver.net import Door
from replyhook_receiver.own_secrets import Secrets
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.storage.chosen import storage_for
from replyhook_receiver.stores.chosen import store_for
from replyhook_receiver.stores.sql.places import Limits
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.tracing import Tracing
from replyhook_receiver.video_links import VideoLinks
from replyhook_receiver.work.asking import Asker

MAX_POSTER_BYTES = 1024 * 1024

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All of them. What is shown of them is nothing: some hold secrets."""

    settings: Settings = field(repr=False)
    secrets: Secrets = field(repr=False)
    public_url: str
    now: Clock
    providers: Mapping[str, Provider] = field(repr=False)
    personal: frozenset[str]
    links: VideoLinks = field(repr=False)
    announcer: Announcer = field(repr=False)
    deadlines: Deadlines = field(repr=False)
    store: SQLStore = field(repr=False)
    storage: Storage = field(repr=False)
    door: Door = field(repr=False)
    channels: Channels = field(repr=False)
    tokens: TokenKeys = field(repr=False)
    refusals: Refusals = field(repr=False)
    questions: Questions = field(repr=False)
    measures: Measures = field(repr=False)
    asker: Asker = field(repr=False)
    tracing: Tracing | None = field(repr=False)


def make_parts(settings: Settings, secrets: Secrets, now: Clock) -> Parts:
    """Build everything; nothing is opened yet. Raises ``ConfigurationError``."""
    public_url = public_url_of(settings)
    tokens = TokenKeys(secrets.signing_keys)
    _check_reply_urls(public_url, tokens, now())
    providers = settings.make_providers()
    capabilities = {name: provider.capabilities for name, provider in providers.items()}
    personal = frozenset(name for name, known in capabilities.items() if known.id_is_personal)
    lifetime = timedelta(seconds=settings.video_link_seconds)
    links = VideoLinks(secrets.signing_keys, public_url=public_url, lifetime=lifetime)
    announcer = Announcer(public_url=public_url, personal=personal, links=links, capabilities=capabilities)
    deadlines = Deadlines(capabilities.values())
    store = store_for(
        settings,
        describe=announcer.body,
        deadlines=deadlines,
        max_jobs={name: provider.max_jobs for name, provider in providers.items()},
        limits=Limits.of(place=settings.endpoint_concurrency, at_once=settings.delivery_concurrency),
    )
    storage = storage_for(settings)
    door = Door(allowed_networks=settings.allowed_networks)
    questions = Questions()

    async def poster(job_id: str) -> bytes | None:
        return await _poster(store, storage, job_id)

    return Parts(
        settings=settings,
        secrets=secrets,
        public_url=public_url,
        now=now,
        providers=providers,
        personal=personal,
        links=links,
        announcer=announcer,
        deadlines=deadlines,
        store=store,
        storage=storage,
        door=door,
        channels=make_channels(settings, door=door, secrets=secrets.notification_secrets, poster=poster),
        tokens=tokens,
        refusals=Refusals(),
        questions=questions,
        measures=Measures(),
        asker=Asker(door=door, providers=providers, questions=questions),
        tracing=Tracing(store.traces) if settings.tracing else None,
    )


def public_url_of(settings: Settings) -> str:
    """Where providers call back. Raises ``ConfigurationError`` where that has to be said."""
    if not settings.public_url and not is_loopback(settings.host):
        raise ConfigurationError(
            f"listening on {settings.host} needs REPLYHOOK_PUBLIC_URL: the https:// address that providers call back on"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


def _check_reply_urls(public_url: str, tokens: TokenKeys, now: datetime) -> None:
    """Say now, not at the first job, that reply URLs would grow too long."""
    for name in PROVIDERS:
        build_reply_url(public_url, provider=name, token=tokens.mint(provider=name, job_id=new_id("job"), now=now))


async def _poster(store: SQLStore, storage: Storage, job_id: str) -> bytes | None:
    """A stored video's first picture, where there is one that a mail can hold. Raises ``StorageTrouble``."""
    name = await store.links.poster(job_id)
    size = await storage.size(name) if name is not None else None
    if name is None or size is None or size > MAX_POSTER_BYTES:
        return None
    return b"".join([chunk async for chunk in storage.read(name, 0, size)])
