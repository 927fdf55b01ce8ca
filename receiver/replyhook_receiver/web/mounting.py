"""The receiver inside another application: its lifespan, nested in that one's, and what is answered without it."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from replyhook.errors import ConfigurationError
from replyhook_receiver.config import Settings
from replyhook_receiver.instance import Instance
from replyhook_receiver.stores.sqlite.serving_lock import held
from replyhook_receiver.web.problems import unavailable

_log = logging.getLogger(__name__)

_LOGGED_EVERY_SECONDS = 60.0
_NOT_RUNNING = (
    "the receiver is mounted here and was not started, or has ended: whoever runs it has to enter "
    "replyhook_receiver.receiver_lifespan(app) in the lifespan of the application around it"
)


@dataclass(slots=True, kw_only=True)
class Life:
    """Whether a receiver's lifespan is under way, and what is told of the one that runs."""

    settings: Settings = field(repr=False)
    instance: Instance = field(repr=False)
    is_running: bool = False


class OnlyWhileRunning:
    """Answers 503, and says in the log what to do, while nothing is open that could serve a request.

    A framework runs the lifespan of its outermost application alone, never that of a mounted one.
    """

    def __init__(self, app: ASGIApp, *, life: Life) -> None:
        self._app = app
        self._life = life
        self._has_looked = False
        self._logged_at: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._life.is_running:
            self._say_so()
            await unavailable(_NOT_RUNNING)(scope, receive, send)
            return
        if not self._has_looked and scope["type"] == "http":
            self._has_looked = True
            self._look(scope.get("root_path", ""))
        await self._app(scope, receive, send)

    def _say_so(self) -> None:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= _LOGGED_EVERY_SECONDS:
            self._logged_at = now
            _log.error("every request is answered 503: %s", _NOT_RUNNING)

    def _look(self, prefix: str) -> None:
        """Warn where the links that are told would lead elsewhere, unless a proxy changes the paths."""
        told = urlsplit(self._life.settings.public_url).path
        if prefix and not told.endswith(prefix):
            _log.warning(
                "the receiver is mounted under %s, but public_url ends in %s: unless a proxy changes the paths, no "
                "provider can call back. Set REPLYHOOK_PUBLIC_URL to the address with the prefix",
                prefix,
                told or "no path",
            )


@asynccontextmanager
async def receiver_lifespan(app: Starlette) -> AsyncIterator[None]:
    """Run a mounted receiver while the context lasts: to be entered in the lifespan of the application around it.

    ``app`` is what ``create_app`` returned. Raises ``ConfigurationError`` where it is not, where no ``public_url`` is
    set (a mounted receiver cannot know its own address), and where another process serves the same database.
    """
    life = getattr(app.state, "life", None)
    if not isinstance(life, Life):
        raise ConfigurationError(
            "receiver_lifespan() takes what create_app(settings) returned, not the application it is mounted in"
        )
    if life.is_running:
        raise ConfigurationError("this receiver is running already: one lifespan for each create_app(settings)")
    if not life.settings.public_url:
        raise ConfigurationError(
            "a mounted receiver cannot know where it is reached: set public_url (REPLYHOOK_PUBLIC_URL) to its address "
            "with the prefix it is mounted under, such as https://app.example.com/hooks"
        )
    # PostgreSQL is for any number of receivers.
    alone = nullcontext() if life.settings.postgres_url is not None else held(life.settings.database_path)
    with alone as hold:
        if hold is not None:
            hold.tell(url=life.settings.public_url, token=life.instance.token)
        async with app.router.lifespan_context(app):
            yield
