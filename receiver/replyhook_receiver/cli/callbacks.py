"""`replyhook callbacks`: what providers sent, as it came; taken once more, or told whose it is."""

from typing import Any
from urllib.parse import quote

import click

from replyhook.jobs import Trust
from replyhook.providers import PROVIDERS
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.history_shown import LONGEST_CELL, print_found, read_moment, told_in_words, when
from replyhook_receiver.cli.job_names import job_meant, job_named
from replyhook_receiver.cli.on_file import reads_database, refuse_database
from replyhook_receiver.cli.shown import output_option
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import ReportSource

STEPS = ("parse", "state", "download", "notify")
_SHOWN_BODY = 4_000
_HEADINGS = ("callback", "received", "provider", "job", "source", "trust", "verdict", "says")

provider_option = click.option("--provider", type=click.Choice(sorted(PROVIDERS)), help="Only this provider's.")
job_option = click.option("--job", help="Only this job's, by its id or your reference.")
reference_option = click.option("--ref", "reference", help="Only those of jobs with this reference of yours.")
user_option = click.option("--user", help="Only this user's.")
verdict_option = click.option(
    "--verdict", type=click.Choice([verdict.value for verdict in Verdict]), help="Only what became of so."
)
source_option = click.option(
    "--source", type=click.Choice([source.value for source in ReportSource]), help="Only what came this way."
)
limit_option = click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many."
)
callback_argument = click.argument("callback")


@click.group()
def callbacks() -> None:
    """What providers sent, as it came: look at it, take it once more, say whose it is.

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY; to look, --database FILE is enough.
    """


@callbacks.command("list")
@provider_option
@job_option
@reference_option
@user_option
@click.option("--orphans", is_flag=True, help="Only those whose job nobody has named yet.")
@click.option("--unrecognised", is_flag=True, help="Only those that could not be read, or said a word we do not know.")
@click.option("--trust", type=click.Choice([trust.value for trust in Trust]), help="Only those believed so far.")
@verdict_option
@source_option
@click.option("--since", callback=read_moment, help="Only those that came after this time, or since so long ago: 2h.")
@click.option("--until", callback=read_moment, help="Only those that came before it.")
@click.option("--before", help="Only those older than this callback.")
@limit_option
@reads_database
@output_option
def list_callbacks(output: str, orphans: bool, unrecognised: bool, **filters: Any) -> None:
    """List callbacks, newest first. Without what came in them: that is `callbacks get`."""
    filters["job"] = job_meant(filters["job"])
    flags = {"orphans": "true" if orphans else None, "unrecognised": "true" if unrecognised else None}
    print_found(ask("GET", "/v1/callbacks", query=filters | flags), output, _HEADINGS, _row)


def _row(callback: dict[str, Any]) -> tuple[str | None, ...]:
    return (
        callback["id"],
        when(callback["received_at"]),
        callback["provider"],
        callback["job_id"],
        callback["source"],
        callback["trust"],
        callback["verdict"] or "an orphan",
        told_in_words(callback["told"]),
    )


@callbacks.command()
@callback_argument
@click.option("--raw", is_flag=True, help="The body as it came, with personal ids and signed links.")
@reads_database
@output_option
def get(callback: str, raw: bool, output: str) -> None:
    """Show one callback with its headers and its body.

    Personal ids and the queries of links are left out of the body, except with --raw; headers that carry secrets
    always are.
    """
    kept = ask("GET", f"/v1/callbacks/{quote(callback, safe='')}", query={"raw": "true" if raw else None})
    if output == "id":
        click.echo(harmless(kept["id"]))
    elif output != "table":
        click.echo(harmless_json(kept, indent=output == "json"))
    else:
        print_found({"data": [kept]}, "table", _HEADINGS, _row)
        for name, value in kept["headers"]:
            click.echo(f"{harmless(name, longest=LONGEST_CELL)}: {harmless(value, longest=LONGEST_CELL)}")
        click.echo()
        click.echo(harmless(kept["body"][:_SHOWN_BODY], lines=True))
        if len(kept["body"]) > _SHOWN_BODY:
            click.echo(f"… {len(kept['body']) - _SHOWN_BODY:,} characters more: -o json has them all", err=True)
        if kept["body_encoding"] == "base64":
            click.echo("it is no text, so this is its base64", err=True)


def _read_steps(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    steps = [step.strip() for step in value.split(",")]
    unknown = [step for step in steps if step not in STEPS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(STEPS)}", ctx=ctx, param=param)
    return steps


@callbacks.command()
@click.argument("callbacks", nargs=-1, required=True, metavar="CALLBACK...")
@click.option(
    "--what",
    callback=_read_steps,
    default="parse",
    show_default=True,
    metavar="STEP[,STEP]",
    help="parse: read it again. state: apply it. download: fetch its video. notify: tell the job's endpoints again.",
)
@click.option("--apply", "is_applied", is_flag=True, help="Do it. Without this nothing is changed: it is a dry run.")
@output_option
def replay(callbacks: tuple[str, ...], what: list[str], is_applied: bool, output: str) -> None:
    """Take kept callbacks once more: with a mended parser, or after something was lost.

    Only what was verified when it came was kept, and it is believed no further now. A fact that is known already
    changes nothing. No endpoint hears of it unless notify is asked for; then with a new webhook-id.

    \b
    replyhook callbacks list --unrecognised -o id | xargs replyhook callbacks replay --what parse,state
    """
    content = {"what": what, "dry_run": not is_applied}
    for callback in callbacks:
        replayed = ask("POST", f"/v1/callbacks/{quote(callback, safe='')}/replay", content=content)
        if output == "id":
            click.echo(harmless(replayed["job_id"] or ""))
        elif output != "table":
            click.echo(harmless_json({"callback": callback, **replayed}, indent=output == "json"))
        else:
            for line in _in_words(callback, replayed, what):
                click.echo(harmless(line))
    if not is_applied:
        click.echo("that was a dry run: nothing was changed; --apply does it", err=True)
    elif what == ["parse"]:
        click.echo("they were read, and nothing was changed: --what says what else is to be done", err=True)


def _in_words(callback: str, replayed: dict[str, Any], what: list[str]) -> list[str]:
    read = replayed["read"]
    lines = [f"{callback} of {replayed['job_id'] or 'no known job'}"]
    lines.append(f"  read then    {told_in_words(read['kept'])}")
    now = "the same" if read["now"] and not read["changed"] else told_in_words(read["now"])
    lines.append(f"  read today   {read['problem'] or now}")
    if "state" in what:
        before, after = replayed["before"], replayed["after"]
        change = _standing(after) if before == after else f"{_standing(before)} → {_standing(after)}"
        orphan = "an orphan still" if read["now"] or read["kept"] else "unrecognised still"
        lines.append(f"  state        {replayed['verdict'] or orphan}: {change}")
    lines += [f"  {step:<12} {replayed[step]}" for step in ("download", "notify") if replayed[step]]
    if replayed["announced"]:
        to = f"{replayed['deliveries']} deliveries" if replayed["deliveries"] else "the stream alone"
        withheld = replayed["withheld_deliveries"]
        kept_back = f", {withheld} deliveries withheld (notify was not asked for)" if withheld else ""
        lines.append(f"  announced    {', '.join(replayed['announced'])}: {to}{kept_back}")
    if replayed["tasks"]:
        lines.append(f"  work due     {', '.join(replayed['tasks'])}")
    return lines


def _standing(standing: dict[str, Any] | None) -> str:
    if standing is None:
        return "no job"
    progress = "" if standing["progress"] is None else f" {standing['progress']} %"
    return f"{standing['status']}{progress}, video {standing['video']}"


@callbacks.command()
@callback_argument
@click.argument("job")
@output_option
def bind(callback: str, job: str, output: str) -> None:
    """Say that an orphan CALLBACK is of JOB.

    The job gets the id that the provider calls it by in the callback, as with `replyhook jobs bind`, and with it
    everything else that was told of that id.
    """
    bound = ask("POST", f"/v1/callbacks/{quote(callback, safe='')}/bind", content={"job": job_named(job, is_one=True)})
    if output == "id":
        click.echo(harmless(bound["id"]))
    elif output == "table":
        click.echo(f"{harmless(bound['id'])} has it; its status is {harmless(bound['status'])}")
    else:
        click.echo(harmless_json(bound, indent=output == "json"))


refuse_database(callbacks)
