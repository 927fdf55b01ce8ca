"""`replyhook serve`: the receiver in the foreground."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.cli.port_holders import who_listens_on
from replyhook_receiver.cli.settings import said_for, tell_of_unread_file, warn_of_a_folder_to_share

if TYPE_CHECKING:
    from socket import socket

    from replyhook_receiver.config import Settings


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.  [default: 8080]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder for database and videos.")
@click.option("--public-url", help="Where providers reach this receiver, such as https://hooks.example.com")
@click.option(
    "--no-worker", is_flag=True, help="Only receive; `replyhook worker` elsewhere does the rest (PostgreSQL)."
)
def serve(
    config: Path | None,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    public_url: str | None,
    no_worker: bool,
) -> None:
    """Receive callbacks, store them, download the videos, notify.

    Settings come from flags, then the environment (REPLYHOOK_…), then the file. On loopback with nothing set, keys are
    made and kept in the data folder; on any other address they must be configured.

    One listening socket that a service manager hands over (LISTEN_FDS and LISTEN_PID, as systemd's .socket units do) is
    served instead of --host and --port, by the same rules; whoever holds it keeps connections waiting during a restart.
    NOTIFY_SOCKET is told READY=1 and STOPPING=1. SIGTERM ends it when what got in is answered, within 10 seconds.
    """
    from replyhook_receiver.cli.starting import run_in_foreground
    from replyhook_receiver.configuring import checked, meant_variable, unknown_variables
    from replyhook_receiver.exporting import exported
    from replyhook_receiver.instance import Instance
    from replyhook_receiver.own_secrets import secrets_for
    from replyhook_receiver.service_manager import inherited_socket, teller
    from replyhook_receiver.serving import allow_many_connections, configure_logging
    from replyhook_receiver.stores.sqlite.serving_lock import held
    from replyhook_receiver.web.app import create_app

    inherited, tell = inherited_socket(os.environ), teller(os.environ)
    if inherited is not None:
        host, port = inherited.getsockname()[:2]
    flags = {"host": host, "port": port, "data_dir": data_dir, "public_url": public_url}
    tell_of_unread_file(config)
    said = said_for(config, flags)
    settings = checked(said)
    for name in unknown_variables(os.environ):
        click.echo(f"warning: {name} is set, but there is no such setting{meant_variable(name)}", err=True)
    if no_worker and settings.postgres_url is None:
        raise ConfigurationError(
            "--no-worker is for receivers on PostgreSQL (database_url): on SQLite nobody else can do the work"
        )
    warn_of_a_folder_to_share(settings)
    configure_logging(settings.log_level, settings.log_format)
    allow_many_connections()
    secrets = secrets_for(settings)
    spans = exported(os.environ) if settings.tracing else nullcontext()
    # PostgreSQL is for any number of receivers.
    alone = nullcontext() if settings.postgres_url is not None else held(settings.database_path)
    with alone as hold, spans:
        bound = inherited or _bound(settings)
        settings = settings.model_copy(update={"port": bound.getsockname()[1]})
        instance = Instance.fresh()
        app = create_app(settings, secrets=secrets, with_worker=not no_worker, instance=instance, said=said)
        at = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{at}:{settings.port}"
        if hold is not None:
            hold.tell(url=url, token=instance.token)
        click.echo(f"replyhook receiver on {url} (providers call {settings.public_url or url})", err=True)
        click.echo(f"its dashboard: {settings.public_url or url}/ (sign in with an API key)", err=True)
        if secrets.made_here:
            click.echo(f"keys that nobody configured are in {secrets.made_here}, readable for you alone", err=True)
        run_in_foreground(app, host=settings.host, port=settings.port, bound=bound, tell=tell)


def _bound(settings: "Settings") -> "socket":
    """Where it will listen. Raises ``ConfigurationError`` saying who is in the way."""
    from replyhook_receiver.serving import free_socket

    try:
        return free_socket(settings.host, settings.port)
    except OSError as error:
        who = who_listens_on(settings.port)
        cause = f"{who} holds the port" if who else "another program may hold the port"
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; {cause}. End it, or choose another "
            "port with --port"
        ) from error
