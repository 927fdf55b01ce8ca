"""`replyhook deliveries`: look at what was sent to whom and how that went, and put it back."""

import sys
from typing import Any
from urllib.parse import quote, urlencode

import click

from replyhook.notifications import NotificationType
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.history_shown import read_moment, when
from replyhook_receiver.cli.job_names import job_meant
from replyhook_receiver.cli.on_file import reads_database, refuse_database
from replyhook_receiver.cli.shown import output_option, print_rows, print_values

_STATUSES = ("pending", "delivered", "dead", "superseded")


def _filters(command: Any) -> Any:
    options = [
        click.option("--status", type=click.Choice(_STATUSES), help="Only these."),
        click.option("--endpoint", help="Only to this endpoint, by its id."),
        click.option("--job", help="Only about this job, by its id or your reference."),
        click.option("--ref", "reference", help="Only about jobs with this reference of yours."),
        click.option("--user", help="Only about this user's jobs."),
        click.option(
            "--type", "kind", type=click.Choice([kind.value for kind in NotificationType]), help="Only these."
        ),
        click.option("--since", callback=read_moment, help="Only those made then or later: a time, or 2h ago: 2h."),
        click.option("--until", callback=read_moment, help="Only those made before."),
        click.option("--error", help="Only those whose last error contains this."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def deliveries() -> None:
    """Look at what was sent to whom and how that went, and put it back.

    A delivery brings one notification to one endpoint. It is tried 10 times in 2.3 days; then it is a dead letter.
    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY; to look, --database FILE is enough.
    """


@deliveries.command("list")
@_filters
@click.option("--before", help="Only those older than this delivery.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@reads_database
@output_option
def list_deliveries(output: str, **asked: Any) -> None:
    """List deliveries, newest first."""
    asked["job"] = job_meant(asked["job"])
    page = ask("GET", f"/v1/deliveries?{urlencode(_given(asked))}")
    if output == "json":
        print_values(page, output)
        return
    _print(page["data"], output)
    if page["has_more"]:
        click.echo(f"there are more: --before {harmless(page['next'])}", err=True)


@deliveries.command()
@click.argument("delivery")
@reads_database
@output_option
def get(delivery: str, output: str) -> None:
    """Show one delivery with every try."""
    found = ask("GET", f"/v1/deliveries/{quote(delivery, safe='')}")
    if output == "json":
        print_values(found, output)
        return
    _print([found], output)
    if output == "table":
        rows = [_attempt_cells(attempt) for attempt in found["attempts"]]
        print_rows(("try", "begun", "ms", "status", "why", "answer"), rows)


@deliveries.command()
@click.argument("delivery", required=False)
@_filters
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Do not ask before several are put back.")
@output_option
def retry(delivery: str | None, dry_run: bool, yes: bool, output: str, **asked: Any) -> None:
    """Put DELIVERY back, or all that a filter matches (without --status: the dead ones of them).

    \b
    replyhook deliveries retry dlv_06gzvyj6038xt427xgy6esgkjx
    replyhook deliveries retry --status dead --since 2026-11-21T00:00:00Z --dry-run

    What is put back keeps its webhook-id, and is tried as often as in the beginning.
    """
    given = _given(asked)
    if delivery is not None:
        if given or dry_run:
            raise click.UsageError("either one delivery by its id, or a filter")
        _print([ask("POST", f"/v1/deliveries/{quote(delivery, safe='')}/retry")], output)
        click.echo(f"{harmless(delivery)} is put back: it is tried again now, under the same webhook-id", err=True)
        return
    if not given:
        raise click.UsageError("name a delivery or a filter; for all dead letters: --status dead")
    if "job" in given:
        given["job"] = job_meant(given["job"], is_one=True)
    if not dry_run and not yes and sys.stdin.isatty():
        matching = ask("POST", "/v1/deliveries/retry", content={**given, "dry_run": True})["matching"]
        click.confirm(f"put {matching} deliveries back?", abort=True, err=True)
    answer = ask("POST", "/v1/deliveries/retry", content={**given, "dry_run": dry_run})
    if output in ("json", "jsonl"):
        print_values(answer, output)
    elif dry_run:
        click.echo(f"{answer['matching']} would be put back")
    else:
        click.echo(f"{answer['retried']} are put back")
    if answer["skipped"]:
        click.echo(f"{answer['skipped']} are left out: their endpoints were removed, or are gone", err=True)


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    names = {"kind": "type"}
    return {names.get(name, name): value for name, value in asked.items() if value is not None}


def _print(found: list[dict[str, Any]], output: str) -> None:
    if output == "table":
        headings = ("delivery", "type", "job", "endpoint", "status", "tries", "created", "why")
        print_rows(headings, [_cells(each) for each in found])
        return
    for each in found:
        if output == "id":
            click.echo(harmless(each["id"]))
        else:
            print_values(each, output)


def _cells(delivery: dict[str, Any]) -> tuple[str | None, ...]:
    endpoint, waits_for = delivery["endpoint"], delivery["waits_for"]
    status = f"{delivery['status']} ({waits_for})" if waits_for else delivery["status"]
    why = f"by {delivery['superseded_by']}" if delivery["superseded_by"] else delivery["problem"]
    return (
        delivery["id"],
        delivery["type"],
        delivery["job_id"],
        " ".join(filter(None, (endpoint["name"], endpoint["id"], endpoint["host"] or endpoint["channel"]))),
        status,
        _tries(delivery),
        when(delivery["created_at"]),
        why,
    )


def _tries(delivery: dict[str, Any]) -> str:
    tries, counted = delivery["tries"], delivery["counted"]
    return str(tries) if counted >= tries else f"{tries}, {counted} since it was put back"


def _attempt_cells(attempt: dict[str, Any]) -> tuple[str | None, ...]:
    figures = [None if attempt[name] is None else str(attempt[name]) for name in ("latency_ms", "status")]
    why = "under way" if attempt["under_way"] else attempt["problem"]
    return (str(attempt["number"]), when(attempt["begun_at"]), *figures, why, attempt["answer"])


refuse_database(deliveries)
