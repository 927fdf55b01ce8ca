"""Running the receiver in the foreground; a start that fails for a reason we know of says it in one line."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket

from starlette.applications import Starlette

from replyhook.errors import ConfigurationError
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.service_manager import Tell
from replyhook_receiver.serving import Server, server_config


class _Start(logging.Filter):
    """Watches an application's start. What uvicorn logs of one that failed so, tracebacks all, is left out."""

    def __init__(self, app: Starlette) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._lifespan = app.router.lifespan_context
        app.router.lifespan_context = self._watched  # type: ignore[assignment] # it takes whatever yields a state

    def filter(self, _: logging.LogRecord) -> bool:
        return self.failure is None

    @asynccontextmanager
    async def _watched(self, app: Starlette) -> AsyncIterator[object]:
        async with AsyncExitStack() as stack:
            try:
                state = await stack.enter_async_context(self._lifespan(app))
            except (ConfigurationError, ReceiverTrouble, OSError) as error:
                self.failure = error
                raise
            yield state


def run_in_foreground(app: Starlette, *, host: str, port: int, bound: socket, tell: Tell) -> None:
    """Serve until told to end; ``tell`` hears when it is ready, and when it ends.

    Raises ``ConfigurationError`` in words where it cannot start; exits 1 or 3 otherwise.
    """
    start = _Start(app)
    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(start)
    server = Server(server_config(app, host=host, port=port), tell=tell)
    try:
        server.run(sockets=[bound])
    except SystemExit:
        if start.failure is None:
            raise
    finally:
        logger.removeFilter(start)
        bound.close()
    if start.failure is not None:
        raise ConfigurationError(f"the receiver cannot start: {start.failure}") from start.failure
    if not server.started:
        raise SystemExit(1)
