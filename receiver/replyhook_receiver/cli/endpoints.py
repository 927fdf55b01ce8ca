"""`replyhook endpoints`: the places that are notified: add, look, try, disable, rotate, remove."""

from typing import Any
from urllib.parse import quote, urlencode

import click
import msgspec

from replyhook.notifications import NotificationType
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.exit_codes import FAILURE
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.job_names import job_meant
from replyhook_receiver.cli.on_file import reads_database, refuse_database
from replyhook_receiver.cli.shown import output_option, print_rows

_HEADINGS = ("endpoint", "channel", "url", "name", "user", "types", "state")

endpoint_argument = click.argument("endpoint")


@click.group()
def endpoints() -> None:
    """The places that are notified of all jobs, or of one user's.

    A job's own places are its notify=[...]. Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY; to
    look, --database FILE is enough.
    """


@endpoints.command()
@click.argument("url")
@click.option("--channel", help="How: webhook, email, or another package's.  [default: as the URL says]")
@click.option("--name", help="What you call it.")
@click.option("--user", help="Only this user's jobs.  [default: everybody's]")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice([kind.value for kind in NotificationType]),
    help="Only this type; several times for several.  [default: all but progress]",
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Sent with each post.")
@output_option
def add(
    url: str,
    channel: str | None,
    name: str | None,
    user: str | None,
    types: tuple[str, ...],
    headers: tuple[str, ...],
    output: str,
) -> None:
    """Add a place: an https:// URL, or mailto:jane@example.com for an e-mail.

    The secret that signs its notifications (whsec_...) is shown this once: on stderr, or in the JSON on stdout.
    """
    content = {"url": url, "channel": channel, "name": name, "user": user, "types": list(types)}
    pairs = dict(_pair(each) for each in headers)
    added = ask("POST", "/v1/endpoints", content={**content, **({"headers": pairs} if pairs else {})})
    _print([added], output, one=True)
    if added.get("secret") and output in ("table", "id"):
        click.echo(f"its secret, shown this once: {added['secret']}", err=True)


@endpoints.command("list")
@click.option("--user", help="Only this user's.")
@click.option("--job", help="One job's own, by its id or your reference.")
@click.option("--before", help="Only those older than this endpoint.")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True, help="At most so many.")
@reads_database
@output_option
def list_endpoints(user: str | None, job: str | None, before: str | None, limit: int, output: str) -> None:
    """List the places, newest first."""
    filters = {"user": user, "job": job_meant(job), "before": before, "limit": limit}
    query = urlencode({name: value for name, value in filters.items() if value is not None})
    page = ask("GET", f"/v1/endpoints?{query}")
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(page)))
        return
    _print(page["data"], output)
    if page["has_more"]:
        click.echo(f"there are more: --before {harmless(page['next'])}", err=True)


@endpoints.command()
@endpoint_argument
@output_option
def enable(endpoint: str, output: str) -> None:
    """Bring notifications again, and those of the last 7 days that were kept."""
    _print([ask("PATCH", _path(endpoint), content={"enabled": True})], output, one=True)


@endpoints.command()
@endpoint_argument
@output_option
def disable(endpoint: str, output: str) -> None:
    """Bring nothing more until it is enabled. What happens meanwhile is kept for 7 days."""
    _print([ask("PATCH", _path(endpoint), content={"enabled": False})], output, one=True)


@endpoints.command()
@endpoint_argument
@click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How it looks."
)
def test(endpoint: str, output: str) -> None:
    """Send a test notification now and show what came back. Exit code 1: it was not taken."""
    told = ask("POST", f"{_path(endpoint)}/test")
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(told)))
    else:
        status = "" if told["status"] is None else f", answered {told['status']}"
        outcome = "taken" if told["ok"] else f"not taken: {harmless(told['problem'])}"
        click.echo(f"{told['notification']}: {outcome}{status if told['ok'] else ''} in {told['milliseconds']} ms")
        if told["answer"]:
            click.echo("\n".join(harmless(line) for line in told["answer"].splitlines()))
    if not told["ok"]:
        raise SystemExit(FAILURE)


@endpoints.command("rotate-secret")
@endpoint_argument
@click.option(
    "--overlap", type=click.FloatRange(0, 168), default=24.0, show_default=True, help="Hours the old one signs as well."
)
def rotate_secret(endpoint: str, overlap: float) -> None:
    """Sign with a new secret, printed this once. For a while the old one signs as well, so nothing is refused."""
    told = ask("POST", f"{_path(endpoint)}/rotate-secret", content={"overlap_hours": overlap})
    click.echo(told["secret"])
    until = ", ".join(told["older_secrets_until"])
    click.echo(f"the one before signs as well until {until}" if until else "the one before signs no more", err=True)


@endpoints.command()
@endpoint_argument
def remove(endpoint: str) -> None:
    """Forget a place; what was not brought yet is given up."""
    ask("DELETE", _path(endpoint))
    click.echo(f"{harmless(endpoint)} is removed", err=True)


def _path(endpoint: str) -> str:
    return f"/v1/endpoints/{quote(endpoint, safe='')}"


def _pair(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise click.UsageError(f"--header {name[:40]}: wanted is NAME=VALUE")
    return name, value


def _print(listed: list[dict[str, Any]], output: str, *, one: bool = False) -> None:
    if output == "json" and one:
        click.echo(msgspec.json.format(msgspec.json.encode(listed[0])))
    elif output in ("json", "jsonl"):
        for each in listed:
            click.echo(msgspec.json.encode(each).decode())
    elif output == "id":
        for each in listed:
            click.echo(each["id"])
    else:
        print_rows(_HEADINGS, [_row(each) for each in listed])


def _row(each: dict[str, Any]) -> tuple[str | None, ...]:
    state = "enabled" if each["enabled"] else f"disabled: {each['disabled_why']}"
    types = " ".join(each["types"]) or "all but progress"
    return each["id"], each["channel"], each["url"], each["name"], each["user"] or "everybody", types, state


refuse_database(endpoints)
