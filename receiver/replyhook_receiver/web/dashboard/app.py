"""The dashboard put together: its pages' routes, and what wakes them."""

from dataclasses import dataclass

from starlette.routing import Route

from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.dashboard.callbacks import CallbackPages
from replyhook_receiver.web.dashboard.changes import Changes
from replyhook_receiver.web.dashboard.deliveries import DeliveryPages
from replyhook_receiver.web.dashboard.endpoints import EndpointPages
from replyhook_receiver.web.dashboard.flashes import Flashes
from replyhook_receiver.web.dashboard.ground import Ground
from replyhook_receiver.web.dashboard.job import JobPage
from replyhook_receiver.web.dashboard.jobs import JobPages
from replyhook_receiver.web.dashboard.overview import OverviewPage
from replyhook_receiver.web.dashboard.pages import Pages
from replyhook_receiver.web.dashboard.providers import ProviderPage
from replyhook_receiver.web.dashboard.search import SearchPage
from replyhook_receiver.web.dashboard.settings import SettingsPage
from replyhook_receiver.web.dashboard.sign_in import SignIn
from replyhook_receiver.web.dashboard.static_files import StaticFiles
from replyhook_receiver.web.dashboard.visits import Visits
from replyhook_receiver.web.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Its routes; what is to be nudged after a commit, and closed before the server is."""

    ground: Ground
    changes: Changes
    routes: list[Route]


def make_dashboard(parts: Parts, keys: ApiKeys, stream: Stream) -> Dashboard:
    """Build it of what the receiver is made of."""
    is_secure = parts.public_url.startswith("https://")
    static = StaticFiles()
    ground = Ground(
        pages=Pages(
            static=static,
            flashes=Flashes(tokens=parts.tokens, is_secure=is_secure),
            storage=parts.storage,
            redirects=parts.settings.storage_redirects,
            now=parts.now,
        ),
        visits=Visits(
            keys=keys,
            names=parts.store.keys,
            sessions=parts.store.sessions,
            tokens=parts.tokens,
            is_secure=is_secure,
            now=parts.now,
        ),
        keys=keys,
        audit=parts.store.audit,
        public_url=parts.public_url,
        now=parts.now,
    )
    made_here = parts.secrets.made_here
    sign_in = SignIn(
        ground,
        tokens=parts.tokens,
        trusted_proxies=parts.settings.trusted_networks,
        is_secure=is_secure,
        kept_in=None if made_here is None or parts.settings.api_keys else str(made_here),
    )
    changes = Changes(stream)
    routes = [
        *static.routes(),
        *sign_in.routes(),
        changes.route(ground),
        *OverviewPage(ground, store=parts.store, storage=parts.storage).routes(),
        *JobPages(ground).routes(),
        *JobPage(ground, store=parts.store, storage=parts.storage).routes(),
        *CallbackPages(ground).routes(),
        *DeliveryPages(ground).routes(),
        *EndpointPages(ground).routes(),
        *ProviderPage(ground).routes(),
        *SearchPage(ground).routes(),
        *SettingsPage(ground).routes(),
    ]
    return Dashboard(ground=ground, changes=changes, routes=routes)
