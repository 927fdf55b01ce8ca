"""`replyhook serve`: the receiver in the foreground."""

import os
import socket
from pathlib import Path

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.cli.settings import settings_from


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for database and videos.")
@click.option("--public-url", help="Where providers reach this receiver, such as https://hooks.example.com")
def serve(
    config: Path | None, host: str | None, port: int | None, data_dir: Path | None, public_url: str | None
) -> None:
    """Receive callbacks, store them, download the videos, notify.

    Settings come from flags, then the environment (REPLYHOOK_…), then the file. On loopback with nothing set, keys are
    made and kept in the data folder; on any other address they must be configured.
    """
    from replyhook_receiver.configuring import unknown_variables
    from replyhook_receiver.own_secrets import secrets_for
    from replyhook_receiver.serving import allow_many_connections, configure_logging, free_socket
    from replyhook_receiver.web.app import create_app

    flags = {"host": host, "port": port, "data_dir": data_dir, "public_url": public_url}
    settings = settings_from(config, flags)
    for name in unknown_variables(os.environ):
        click.echo(f"warning: {name} is set, but there is no such setting", err=True)
    configure_logging(settings.log_level, settings.log_format)
    allow_many_connections()
    secrets = secrets_for(settings)
    try:
        bound = free_socket(settings.host, settings.port)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}. Another program may hold the port: "
            "choose one with --port"
        ) from error
    settings = settings.model_copy(update={"port": bound.getsockname()[1]})
    app = create_app(settings, secrets=secrets)
    url = f"http://{settings.host}:{settings.port}"
    click.echo(f"replyhook receiver on {url} (providers call {settings.public_url or url})", err=True)
    if secrets.made_here:
        click.echo(f"keys that nobody configured are in {secrets.made_here}, readable for you alone", err=True)
    _run(app, settings.host, settings.port, bound)


def _run(app: object, host: str, port: int, bound: socket.socket) -> None:
    from starlette.applications import Starlette

    from replyhook_receiver.serving import Server, server_config

    if not isinstance(app, Starlette):
        raise TypeError("not an application of ours")
    server = Server(server_config(app, host=host, port=port))
    try:
        server.run(sockets=[bound])
    finally:
        bound.close()
    if not server.started:
        raise SystemExit(1)
