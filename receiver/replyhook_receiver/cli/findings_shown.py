"""How findings are printed: one line each, and below it what to do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from replyhook_receiver.cli.exit_codes import FAILURE
from replyhook_receiver.cli.harmless import harmless, harmless_json

if TYPE_CHECKING:
    from replyhook_receiver.doctor.findings import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_LONGEST = 1_000

output_option = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How it is told."
)


def print_findings(findings: "Iterable[Finding]", output: str, *, strict: bool = False) -> None:
    """Print them as they are found; ends with exit code 1 where one is a failure (``strict``: or a warning)."""
    found = []
    for finding in findings:
        found.append(finding)
        if output == "table":
            _print(finding)
    told = [finding.outcome.value for finding in found]
    is_well = "fail" not in told and not (strict and "warn" in told)
    if output == "json":
        click.echo(harmless_json({"ok": is_well, "checks": found}))
    else:
        counts = f"{told.count('fail')} wrong, {told.count('warn')} to be looked at"
        click.echo(f"{len(found)} looked at: {counts}", err=True)
    if not is_well:
        raise SystemExit(FAILURE)


def _print(finding: "Finding") -> None:
    word = click.style(f"{finding.outcome.value:<4}", fg=_COLOURS[finding.outcome.value], bold=True)
    click.echo(f"{word}  {click.style(finding.check, bold=True)}: {harmless(finding.found, longest=_LONGEST)}")
    if finding.todo:
        click.echo(f"      → {harmless(finding.todo, longest=_LONGEST)}")
