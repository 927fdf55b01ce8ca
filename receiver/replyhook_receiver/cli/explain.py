"""`replyhook explain`: one job's whole story on one page."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import click

from replyhook.jobs import JobStatus
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.history_shown import LONGEST_CELL, is_terminal, told_in_words
from replyhook_receiver.cli.job_names import job_called
from replyhook_receiver.cli.on_file import reads_database
from replyhook_receiver.cli.shown import output_option

_WIDTH_WITHOUT_TERMINAL = 200
_STYLES = {
    "applied": "green", "stored": "green", "delivered": "green", "accepted": "green", "succeeded": "green",
    "done": "green", "duplicate": "dim", "stale": "dim", "after_terminal": "dim", "superseded": "dim",
    "conflict": "yellow", "unrecognised": "yellow", "unknown": "yellow", "overdue": "yellow", "ready": "yellow",
    "leased": "yellow", "pending": "yellow", "canceled": "red", "refused": "red", "failed": "red", "dead": "red",
}  # fmt: skip


@click.command()
@click.argument("ref")
@reads_database
@output_option
def explain(ref: str, output: str) -> None:
    """Tell one job's whole story: submitted, each callback with trust and verdict, downloads, deliveries.

    REF is a job's id, your own reference, the provider's id of the job, or the id of a callback, an event, a
    delivery or a notification. Of several jobs with the same reference the newest is told.

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY, or --database FILE.
    """
    job_id = job_called(ref)
    story = ask("GET", f"/v1/jobs/{quote(job_id, safe='')}/timeline")
    if output == "id":
        click.echo(harmless(job_id))
    elif output == "json":
        click.echo(harmless_json(story))
    elif output == "jsonl":
        for entry in story["data"]:
            click.echo(harmless_json(entry, indent=False))
    else:
        _print(story)


def _print(story: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if is_terminal() else _WIDTH_WITHOUT_TERMINAL, highlight=False)
    job = story["job"]
    console.print(Text.assemble((harmless(job["id"]), "bold"), "  ", *_head(job)))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, overflow="fold")  # to be copied whole
    start = datetime.fromisoformat(job["created_at"])
    for entry in story["data"]:
        outcome, words, name = _told(entry)
        table.add_row(
            Text(_since(start, entry["at"]), "dim"),
            Text(harmless(entry["kind"])),
            Text.assemble((harmless(outcome), _STYLES.get(outcome, "")), harmless(words, longest=LONGEST_CELL)),
            Text(harmless(name), "dim"),
        )
    console.print(table)
    if not story["is_whole"]:
        click.echo("that is not all: of so much only the newest is told", err=True)


def _head(job: dict[str, Any]) -> list[tuple[str, str]]:
    asked = [f"reference {job['reference']}"] if job["reference"] else []
    asked += [f"user {job['user']}"] if job["user"] else []
    video = job["video"]["status"]
    parts = [
        (harmless(job["provider"]), ""),
        (job["status"], _STYLES.get(job["status"], "")),
        (f"video {video}", _STYLES.get(video, "")),
    ]
    parts += [(harmless(text, longest=LONGEST_CELL), "") for text in asked]
    if job["overdue_reason"] and not JobStatus(job["status"]).is_terminal:
        parts.append((harmless(f"overdue: {job['overdue_reason']}", longest=LONGEST_CELL), _STYLES["overdue"]))
    return [piece for part in parts for piece in (part, ("  ", ""))][:-1]


def _since(start: datetime, at: str) -> str:
    """How long after the beginning: +0.123 s, +12.3 s, +3 m 02 s, +4 h 05 m, +2 d 03 h."""
    passed = (datetime.fromisoformat(at) - start).total_seconds()
    sign, passed = ("-", -passed) if passed < 0 else ("+", passed)
    if passed < 60:
        return f"{sign}{passed:.3f} s" if passed < 10 else f"{sign}{passed:.1f} s"
    minutes, seconds = divmod(int(passed), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days} d {hours:02} h"
    return f"{sign}{hours} h {minutes:02} m" if hours else f"{sign}{minutes} m {seconds:02} s"


def _told(entry: dict[str, Any]) -> tuple[str, str, str]:
    """What became of it, in a word; the rest in words; and what it is called."""
    match entry["kind"]:
        case "registered":
            return "", "by its caller", ""
        case "appeared":
            return "", "known from its reply URL alone", ""
        case "submitting":
            return "", "by the receiver itself", ""
        case "submission":
            return entry["outcome"], f": {entry['error']}" if entry["error"] else "", ""
        case "callback":
            source = "" if entry["source"] == "callback" else f"{entry['source']}, "
            told = told_in_words(entry["told"])
            return entry["verdict"] or "orphan", f", {source}{entry['trust']}: {told}", entry["id"]
        case "notification":
            progress = "" if entry["progress"] is None or entry["status"] != "running" else f" {entry['progress']} %"
            return entry["type"], progress, entry["id"]
        case "task":
            return entry["state"], _work(entry), ""
        case "stored":
            length = "" if entry["duration"] is None else f", {entry['duration']:.1f} s"
            return "", f"{entry['bytes']:,} bytes{length}, sha256 {(entry['sha256'] or '')[:12]}", ""
        case "delivery":
            return entry["status"], _delivery(entry), entry["id"]
        case other:
            return "", str(other), ""


def _work(entry: dict[str, Any]) -> str:
    return f"{_tries(entry)}, {entry['task']}{_problem(entry)}"


def _delivery(entry: dict[str, Any]) -> str:
    answer = "" if entry["answer"] is None else f", answered {entry['answer']}"
    named = f"{entry['endpoint_name']} " if entry["endpoint_name"] else ""
    where = f"{named}{entry['endpoint_id']} at {entry['endpoint']}"
    return f"{_tries(entry)}: {entry['type']} by {entry['channel']} to {where}{answer}{_problem(entry)}"


def _tries(entry: dict[str, Any]) -> str:
    counted = entry.get("counted", entry["attempts"])
    since = "" if counted >= entry["attempts"] else f", {counted} since it was put back"
    return "" if entry["attempts"] < 2 else f" after {entry['attempts']} tries{since}"


def _problem(entry: dict[str, Any]) -> str:
    return f": {entry['problem']}" if entry["problem"] else ""
