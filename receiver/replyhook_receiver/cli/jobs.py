"""`replyhook jobs`: look at jobs, wait for them, take their videos, cancel, retry, settle them by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from replyhook.errors import CancelNotPossible, JobConflict
from replyhook.jobs import JobStatus
from replyhook.providers import PROVIDERS
from replyhook.results import read_job_page, read_job_result
from replyhook_receiver.cli.asking import ask, ask_plain, receiver_from_environ, send
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.history_shown import read_moment
from replyhook_receiver.cli.job_names import job_named
from replyhook_receiver.cli.on_file import reads_database, refuse_database
from replyhook_receiver.cli.shown import output_option, print_job, print_page, print_values
from replyhook_receiver.cli.waiting import download_to, wait_and_print
from replyhook_receiver.records import VideoWanted

if TYPE_CHECKING:
    from replyhook import Client
    from replyhook.watching import Until

job_argument = click.argument("job")
timeout_option = click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait.  [default: no end]")
download_option = click.option(
    "--download", type=click.Path(dir_okay=False, path_type=Path), help="Save the video as this file when it is stored."
)

_RETRIED = {"download": "the video", "fetch_result": "the result"}


def open_client() -> "Client":
    """A client as the environment says: REPLYHOOK_RECEIVER_URL, REPLYHOOK_API_KEY, the providers' keys."""
    from replyhook import Client

    return Client.from_env()


@click.group()
def jobs() -> None:
    """Look at jobs, wait for them, take their videos, cancel them, try them again, settle them by hand.

    JOB is a job's id, your own reference, the provider's id of the job, or the id of a callback, an event or a
    delivery of its. Of several with the same reference the newest is shown or waited for; where something is done to a
    job, it must be clear which.

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY; to look, --database FILE is enough.
    """


@jobs.command("list")
@click.option("--status", type=click.Choice([status.value for status in JobStatus]), help="Only these.")
@click.option("--provider", type=click.Choice(sorted(PROVIDERS)), help="Only this provider's.")
@click.option("--ref", "reference", help="Only those with this reference of yours.")
@click.option("--user", help="Only this user's.")
@click.option(
    "--created-after", callback=read_moment, help="Only those made then or later: a time, or so long ago: 2h."
)
@click.option("--created-before", callback=read_moment, help="Only those made before.")
@click.option("--since", callback=read_moment, help="The same as --created-after: either.")
@click.option("--until", callback=read_moment, help="The same as --created-before: either.")
@click.option("--overdue/--not-overdue", default=None, help="Only those not called back about in time, or no such.")
@click.option(
    "--video",
    type=click.Choice([state.value for state in VideoWanted]),
    help="Only those whose video stands so; lost: failed or expired.",
)
@click.option(
    "--expiring/--not-expiring", default=None, help="Only those whose video's link is about to end, or no such."
)
@click.option("--error", help="Only those with this in what is wrong with them or their videos, in any case.")
@click.option("--before", help="Only those older than this job.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most so many.")
@reads_database
@output_option
def list_jobs(output: str, **filters: Any) -> None:
    """List jobs, newest first.

    \b
    replyhook jobs list --status failed --since 24h --error timeout
    replyhook jobs list --overdue
    replyhook jobs list --video lost --since 7d
    """
    flags = {name: str(filters[name]).lower() for name in ("overdue", "expiring") if filters[name] is not None}
    answer = ask_plain("GET", "/v1/jobs", query=filters | flags)
    print_page(read_job_page(answer.body), output)


@jobs.command()
@job_argument
@reads_database
@output_option
def get(job: str, output: str) -> None:
    """Show one job as it is, by its id or your reference (`replyhook jobs --help` says by what else)."""
    print_job(read_job_result(ask_plain("GET", _path(job_named(job))).body), output)


@jobs.command()
@job_argument
@timeout_option
@click.option(
    "--until",
    type=click.Choice(["stored", "succeeded"]),
    default="stored",
    show_default=True,
    help="The video is stored, or the provider says so.",
)
@click.option("--past-overdue", is_flag=True, help="Go on waiting for a job that is overdue.")
@download_option
@output_option
def wait(
    job: str, timeout: float | None, until: "Until", past_overdue: bool, download: Path | None, output: str
) -> None:
    """Wait for a job's end, told by pushes. Exit code 3: it failed; 6: time is over, or it is overdue."""
    with open_client() as client:
        handle = client.job(job_named(job))
        wait_and_print(handle, output, timeout=timeout, until=until, past_overdue=past_overdue, download=download)


@jobs.command()
@job_argument
@output_option
def cancel(job: str, output: str) -> None:
    """Cancel a job.

    One that the receiver was to submit and has not yet is canceled at once, and never submitted. For any other its
    provider is asked, by the receiver or with a key that is here (fal, with FAL_KEY); what it then calls back decides.
    """
    job = job_named(job, is_one=True)
    try:
        told = ask("POST", f"{_path(job)}/cancel")
    except JobConflict as refusal:
        told = _cancel_from_here(job, refusal)
    if told.get("canceled_by") == "receiver":
        click.echo(f"{harmless(told['id'])} is canceled; it was never submitted", err=True)
    else:
        words = f"asked {harmless(told['provider'])} to cancel {harmless(told['id'])}"
        click.echo(f"{words}; `replyhook jobs wait` tells what came of it", err=True)
    _print_done(told, output)


def _cancel_from_here(job: str, refusal: JobConflict) -> dict[str, Any]:
    """Ask the provider with a key of ours, where the receiver cannot. Raises what the receiver said where we cannot."""
    with open_client() as client:
        handle = client.job(job)
        if handle.result().status.is_terminal:
            raise refusal
        try:
            handle.cancel()
        except CancelNotPossible:
            raise refusal from None
    return {"id": handle.id, "provider": handle.provider, "canceled_by": "provider"}


@jobs.command()
@job_argument
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def download(job: str, path: Path) -> None:
    """Save a job's stored video as the file PATH.

    Exit code 6: it is not stored yet (`replyhook jobs wait --download` waits for it); 3: there is none, and will be
    none; 5: there is no such job.
    """
    with open_client() as client:
        download_to(client.job(job_named(job)), path)


@jobs.command()
@job_argument
@click.argument("provider_job_id")
@output_option
def bind(job: str, provider_job_id: str, output: str) -> None:
    """Say what the provider calls JOB, whose submit had no known outcome.

    Look PROVIDER_JOB_ID up in the provider's console. What the provider has told of it is then the job's; if the
    receiver has the provider's key, it asks how the job stands.
    """
    receiver = receiver_from_environ()
    told = receiver.build_submission(job_named(job, is_one=True), outcome="accepted", provider_job_id=provider_job_id)
    bound = receiver.parse_job(send(receiver, told))
    click.echo(f"{bound.id} is bound; its status is {bound.status}", err=True)
    print_job(bound, output)


@jobs.command()
@job_argument
@output_option
def retry(job: str, output: str) -> None:
    """Try now what was given up for JOB, or waits: its video, its result.

    Where the link to the video has ended, its provider is asked for another. `replyhook jobs wait` tells what came of
    it. Exit code 1: nothing of it waits or was given up.
    """
    told = ask("POST", f"{_path(job_named(job, is_one=True))}/retry")
    what = " and ".join(_RETRIED.get(each, harmless(each)) for each in told["retried"])
    click.echo(f"{what} of {harmless(told['id'])} is tried now; `replyhook jobs wait` tells what came of it", err=True)
    _print_done(told, output)


@jobs.command()
@job_argument
@output_option
def reconcile(job: str, output: str) -> None:
    """Have the provider asked, now, how JOB stands, which has not ended; usually that waits until it is overdue.

    The receiver asks, with its own key. `replyhook explain` shows the answer. Exit code 1: there is nothing to ask.
    """
    told = ask("POST", f"{_path(job_named(job, is_one=True))}/reconcile")
    click.echo(f"the provider of {harmless(told['id'])} is asked; `replyhook explain` shows its answer", err=True)
    _print_done(told, output)


def _path(job: str) -> str:
    return f"/v1/jobs/{quote(job, safe='')}"


def _print_done(told: dict[str, Any], output: str) -> None:
    """What was done is told on stderr already; a table of it says no more."""
    if output == "id":
        click.echo(harmless(told["id"]))
    elif output != "table":
        print_values(told, output)


refuse_database(jobs)
