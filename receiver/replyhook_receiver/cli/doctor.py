"""`replyhook doctor`: whether a receiver is set up as it must be, and what to do where it is not."""

import os
from pathlib import Path

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.cli.findings_shown import output_option, print_findings
from replyhook_receiver.cli.settings import config_file, settings_from, tell_of_unread_file


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option("--host", help="The receiver's, if it was started with it.")
@click.option("--port", type=click.IntRange(0, 65535), help="The receiver's, if it was started with it.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's, likewise.")
@click.option("--public-url", help="The receiver's, likewise.")
@click.option("--strict", is_flag=True, help="Exit 1 for a warning too.")
@output_option
def doctor(
    config: Path | None,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    public_url: str | None,
    strict: bool,
    output: str,
) -> None:
    """Look whether the receiver is set up as it must be, and say what to do where it is not.

    Run it where the receiver runs, as its user and with the same settings; the receiver may be up or down. Looks at the
    settings and keys, the database, the disk, the worker, whether the public URL leads to this very receiver, the
    clock, the providers' public keys, the mail server. Changes nothing, and shows no secret.

    Exit code 0: no failure; 1: at least one.
    """
    from replyhook_receiver.doctor.examination import examine
    from replyhook_receiver.doctor.examined import Examined
    from replyhook_receiver.doctor.findings import fail

    flags = {"host": host, "port": port, "data_dir": data_dir, "public_url": public_url}
    tell_of_unread_file(config)
    try:
        settings = settings_from(config, flags)
    except ConfigurationError as error:
        words = " ".join(str(error).split())
        print_findings([fail("settings", words, "`replyhook config check` names each on a line of its own")], output)
        return
    examined = Examined(settings=settings, config=config_file(config), environ=os.environ)
    print_findings(examine(examined), output, strict=strict)
