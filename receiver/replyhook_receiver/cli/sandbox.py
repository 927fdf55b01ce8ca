"""`replyhook sandbox`: the imitation providers in the foreground."""

from pathlib import Path

import click

from replyhook_receiver.extras import how_to_install


class FaultOption(click.Option):
    """An option whose help lists the faults: the sandbox, which is heavy, is imported only when that is read."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from replyhook_receiver.sandbox import Fault

        self.help = f"What goes wrong with every job: {', '.join(Fault)}."
        return super().get_help_record(ctx)


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9100, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--speed", type=float, default=10.0, show_default=True, help="Divides every simulated wait.")
@click.option("--fault", default="none", show_default=True, cls=FaultOption)
@click.option(
    "--credits", "credit", type=click.IntRange(0), help="Jobs each provider bills before it has no credits left."
)
@click.option("--max-concurrent", type=click.IntRange(1), help="Jobs each provider works on at once.")
@click.option("--segmind-json", is_flag=True, help="Segmind's blocking call answers with a link, not with the video.")
@click.option(
    "--pixverse-signer",
    type=click.Choice(["python", "node", "go", "java"]),
    default="node",
    show_default=True,
    help="Which of its official samples PixVerse signs like.",
)
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for videos.  [default: a temporary one]",
)
def sandbox(
    port: int,
    speed: float,
    fault: str,
    credit: int | None,
    max_concurrent: int | None,
    segmind_json: bool,
    pixverse_signer: str,
    work_dir: Path | None,
) -> None:
    """Imitation providers on loopback that really extend videos, call back, retry, and misbehave on demand.

    Prints the environment a receiver and a client need to use them instead of the real ones. A single job is made to
    go wrong with a mark in its prompt, such as [[fault:duplicate]] or [[refuse:429]].
    """
    import tempfile

    from replyhook_receiver.media import HAS_PYAV

    if not HAS_PYAV:
        raise click.ClickException(f"the sandbox makes real videos: {how_to_install('all')}")
    from replyhook_receiver.sandbox import Fault, SandboxOptions, create_sandbox, sandbox_settings
    from replyhook_receiver.serving import configure_logging, free_socket, server_config

    if fault not in {known.value for known in Fault}:
        raise click.BadParameter(f"{fault!r} is none of {', '.join(Fault)}", param_hint="--fault")
    if speed <= 0:
        raise click.BadParameter("must be above 0", param_hint="--speed")
    configure_logging("info")
    try:
        bound = free_socket(port=port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror}; choose one with --port") from error
    with tempfile.TemporaryDirectory(prefix="replyhook-sandbox-") as temporary:
        options = SandboxOptions(
            base_url=f"http://127.0.0.1:{bound.getsockname()[1]}",
            work_dir=work_dir or Path(temporary),
            speed=speed,
            faults={"*": Fault(fault)},
            credits=credit,
            max_concurrent=max_concurrent,
            segmind_json=segmind_json,
            pixverse_signer=pixverse_signer,
        )
        click.echo(
            f"# sandbox providers on {options.base_url}; a source clip: {options.base_url}/_sandbox/source.mp4",
            err=True,
        )
        click.echo("export REPLYHOOK_ALLOWED_NETWORKS=127.0.0.0/8")
        for name, values in sandbox_settings(options).items():
            for setting, value in values.items():
                click.echo(f"export REPLYHOOK_PROVIDERS__{name.upper()}__{setting.upper()}={value}")
        import uvicorn

        uvicorn.Server(server_config(create_sandbox(options), host="127.0.0.1", port=port)).run(sockets=[bound])
