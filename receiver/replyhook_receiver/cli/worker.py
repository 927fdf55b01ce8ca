"""`replyhook worker`: the work alone, beside receivers on the same PostgreSQL."""

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError, ReplyhookError
from replyhook_receiver.cli.settings import settings_from, warn_of_a_folder_to_share

if TYPE_CHECKING:
    from socket import socket

    from replyhook_receiver.config import Settings
    from replyhook_receiver.own_secrets import Secrets

_log = logging.getLogger(__name__)


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option(
    "--health-port",
    type=click.IntRange(1, 65535),
    help="Answer /healthz, /readyz and, where it is switched on, /metrics there.  [default: listen nowhere]",
)
@click.option("--health-host", default="127.0.0.1", show_default=True, help="Address for --health-port.")
def worker(config: Path | None, health_port: int | None, health_host: str) -> None:
    """Download, notify and ask, for any number of receivers on one PostgreSQL.

    Start as many as you like, on any machines, with the settings of the receivers; those are then started as
    `replyhook serve --no-worker`. What one that dies had under way another takes over, 30 seconds later at most.
    SIGTERM ends it: nothing new is begun, what runs has 5 seconds, the rest is put back for the others at once.
    """
    import uvloop

    from replyhook_receiver.configuring import meant_variable, unknown_variables
    from replyhook_receiver.exporting import exported
    from replyhook_receiver.own_secrets import secrets_for
    from replyhook_receiver.serving import allow_many_connections, configure_logging

    settings = settings_from(config)
    for name in unknown_variables(os.environ):
        click.echo(f"warning: {name} is set, but there is no such setting{meant_variable(name)}", err=True)
    if settings.postgres_url is None:
        raise ConfigurationError(
            "a worker of its own needs a database that several processes share: set database_url to postgresql://…; "
            "on SQLite `replyhook serve` does the work itself"
        )
    warn_of_a_folder_to_share(settings)
    configure_logging(settings.log_level, settings.log_format)
    allow_many_connections()
    bound = None if health_port is None else _bound(health_host, health_port)
    with exported(os.environ) if settings.tracing else nullcontext():
        uvloop.run(_work(settings, secrets_for(settings), bound))


def _bound(host: str, port: int) -> "socket":
    from replyhook_receiver.serving import free_socket

    try:
        return free_socket(host, port)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port} (--health-port): {error.strerror}") from error


async def _work(settings: "Settings", secrets: "Secrets", bound: "socket | None") -> None:
    from replyhook_receiver.serving import served
    from replyhook_receiver.web.app import utc_now
    from replyhook_receiver.web.worker_process import at_work

    told_to_end = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, told_to_end.set)
    async with AsyncExitStack() as stack:
        begun = await stack.enter_async_context(at_work(settings, secrets=secrets, now=utc_now))
        if bound is not None:
            url = await stack.enter_async_context(served(begun.app, bound))
            click.echo(f"replyhook worker: how it is, is told on {url}/readyz", err=True)
        click.echo("replyhook worker is at work", err=True)
        waiting = [asyncio.create_task(told_to_end.wait()), asyncio.create_task(begun.worker.broken())]
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        if waiting[0] not in done:
            raise ReplyhookError("the worker has failed by a fault of ours, which is logged above; start it again")
        _log.info("told to end: nothing new is begun")
