"""`replyhook events`: the facts about jobs, each kept once however often it was told."""

from typing import Any

import click

from replyhook.jobs import JobStatus
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.callbacks import (
    job_option,
    limit_option,
    provider_option,
    reference_option,
    source_option,
    user_option,
    verdict_option,
)
from replyhook_receiver.cli.history_shown import print_found, read_moment, told_in_words, when
from replyhook_receiver.cli.job_names import job_meant
from replyhook_receiver.cli.on_file import reads_database
from replyhook_receiver.cli.shown import output_option


@click.group()
def events() -> None:
    """The facts about jobs, each kept once however often it was told.

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY, or --database FILE.
    """


@events.command("list")
@provider_option
@job_option
@reference_option
@user_option
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only those that say so.")
@verdict_option
@source_option
@click.option("--since", callback=read_moment, help="Only those told after this time, or since so long ago: 2h.")
@click.option("--until", callback=read_moment, help="Only those told before it.")
@click.option("--before", help="Only those older than this event.")
@limit_option
@reads_database
@output_option
def list_events(output: str, **filters: Any) -> None:
    """List events, newest first: what was told, and what became of it."""
    filters["job"] = job_meant(filters["job"])
    headings = ("event", "at", "provider", "job", "source", "verdict", "says")
    print_found(ask("GET", "/v1/events", query=filters), output, headings, _row)


def _row(event: dict[str, Any]) -> tuple[str | None, ...]:
    return (
        event["id"],
        when(event["created_at"]),
        event["provider"],
        event["job_id"],
        event["source"],
        event["verdict"] or "an orphan",
        told_in_words(event),
    )
