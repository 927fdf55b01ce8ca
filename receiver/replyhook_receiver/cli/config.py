"""`replyhook config`: the settings in force, whether a file is right, and a first file."""

import os
from pathlib import Path

import click

from replyhook.errors import ConfigurationError
from replyhook_receiver.cli.config_init import init
from replyhook_receiver.cli.harmless import harmless_json
from replyhook_receiver.cli.settings import config_file, environ_of_settings
from replyhook_receiver.cli.shown import print_rows


@click.group()
def config() -> None:
    """See the settings in force, check a settings file, write a first one."""


@config.command()
@click.option("--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option("--host", help="As `replyhook serve` is given it.")
@click.option("--port", type=click.IntRange(0, 65535), help="Likewise.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Likewise.")
@click.option("--public-url", help="Likewise.")
@click.option("--set", "only_set", is_flag=True, help="Only those that somebody has set.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object.")
def show(
    file: Path | None,
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    public_url: str | None,
    only_set: bool,
    is_json: bool,
) -> None:
    """Show every setting as it is in force, and where it comes from; secrets are masked.

    Where it comes from is `default`, the file and its line, the environment's variable, or the flag.
    """
    from replyhook_receiver.configuring import checked, gather
    from replyhook_receiver.effective import DEFAULT, effective

    flags = {"host": host, "port": port, "data_dir": data_dir, "public_url": public_url}
    said = gather(environ_of_settings(), toml_file=config_file(file), flags=flags)
    found = [each for each in effective(checked(said), said) if not only_set or each.origin != DEFAULT]
    if is_json:
        click.echo(harmless_json({"settings": found}))
    else:
        rows = [(each.name, _text(each.value), each.origin) for each in found]
        print_rows(("setting", "value", "from"), rows)


@config.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
def check(file: Path | None) -> None:
    """Check FILE together with the environment, as `replyhook serve --config FILE` would read them.

    Without FILE: the one that REPLYHOOK_CONFIG names, or the environment alone. Names the line and key of what is
    wrong, and what is allowed. Exit code 4: something is.
    """
    from replyhook_receiver.configuring import checked, gather, meant_variable, unknown_variables
    from replyhook_receiver.file_secrets import secrets_in

    path = config_file(file)
    said = gather(environ_of_settings(), toml_file=path)
    checked(said)
    unknown = [f"{name}: there is no such setting{meant_variable(name)}" for name in unknown_variables(os.environ)]
    if unknown:
        raise ConfigurationError("in the environment:\n  " + "\n  ".join(unknown))
    inside = secrets_in(path) if path is not None else []
    if path is not None and inside and path.stat().st_mode & 0o077:
        click.echo(
            f"warning: others on this machine may read {path}, and {', '.join(inside)} in it: chmod 600 {path}",
            err=True,
        )
    what = f"{path} and the environment are" if path is not None else "the environment is"
    again = f"replyhook config show{f' --config {path}' if path else ''}"
    click.echo(f"{what} right; `{again}` lists what is in force", err=True)


def _text(value: object) -> str:
    if isinstance(value, str | int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return harmless_json(value, indent=False) if value else ""


config.add_command(init)
