"""`replyhook doctor`: whether a receiver is set up as it must be, and what to do where it is not."""

import os
from pathlib import Path

import click

from replyhook_receiver.cli.exit_codes import FAILURE
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.settings import config_file, settings_from

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
_LONGEST = 1_000


@click.command()
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@click.option("--host", help="The receiver's, if it was started with it.")
@click.option("--port", type=click.IntRange(0, 65535), help="The receiver's, if it was started with it.")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="The receiver's, likewise.")
@click.option("--public-url", help="The receiver's, likewise.")
@click.option("--strict", is_flag=True, help="Exit 1 for a warning too.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How it is told."
)
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
    from replyhook_receiver.doctor.findings import Finding, Outcome

    flags = {"host": host, "port": port, "data_dir": data_dir, "public_url": public_url}
    settings = settings_from(config, flags)
    found: list[Finding] = []
    for finding in examine(Examined(settings=settings, config=config_file(config), environ=os.environ)):
        found.append(finding)
        if output == "table":
            _print(finding.check, finding.outcome.value, finding.found, finding.todo)
    counts = {outcome: sum(each.outcome is outcome for each in found) for outcome in Outcome}
    is_well = not counts[Outcome.FAIL] and not (strict and counts[Outcome.WARN])
    if output == "json":
        click.echo(harmless_json({"ok": is_well, "checks": found}))
    else:
        click.echo(
            f"{len(found)} looked at: {counts[Outcome.FAIL]} wrong, {counts[Outcome.WARN]} to be looked at", err=True
        )
    if not is_well:
        raise SystemExit(FAILURE)


def _print(check: str, outcome: str, found: str, todo: str | None) -> None:
    style = _STYLES[outcome]
    word = click.style(f"{outcome:<4}", fg=style.split()[-1], bold="bold" in style)
    click.echo(f"{word}  {click.style(check, bold=True)}: {harmless(found, longest=_LONGEST)}")
    if todo:
        click.echo(f"      → {harmless(todo, longest=_LONGEST)}")
