"""What is told while a command waits, on stderr: a moving line on a terminal, plain lines elsewhere. From pushes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replyhook.errors import JobFailed, JobOverdue, ReplyhookError, WaitTimeout
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.shown import print_job

if TYPE_CHECKING:
    from replyhook import JobHandle, Notification
    from replyhook.watching import Until


def wait_and_print(
    job: "JobHandle",
    output: str,
    *,
    timeout: float | None,
    until: "Until" = "stored",
    past_overdue: bool = False,
    download: Path | None = None,
) -> None:
    """Wait for a job's end, tell of each push, save the video if asked to, print the job. Raises what these raise."""
    try:
        with _told(job.id) as tell:
            job.wait(
                timeout,
                until="stored" if download else until,
                past_overdue=past_overdue,
                on_event=tell,
                on_trouble=_tell_trouble,
            )
    except (JobFailed, JobOverdue, WaitTimeout):
        print_as_known(job, output)
        raise
    if download is not None:
        download_to(job, download)
    print_job(job.result(), output)


@contextmanager
def going_on(job: "JobHandle") -> Iterator[None]:
    """Whoever interrupts this hears that it is not the job that was ended."""
    try:
        yield
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{job.id} goes on: `replyhook jobs wait {job.id}`", err=True)
        raise


def _tell_trouble(why: str) -> None:
    click.echo(f"the receiver cannot be heard ({harmless(why)}); trying again", err=True)


def print_as_known(job: "JobHandle", output: str) -> None:
    """Print a job that may have cost money, whatever else went wrong: at least what it is called."""
    try:
        print_job(job.result(), output)
    except ReplyhookError:
        print_called(job, output)


def print_called(job: "JobHandle", output: str) -> None:
    """Print what is known here of a job that the receiver cannot be asked about."""
    if output in ("table", "id"):
        click.echo(job.id)
    else:
        told = {"id": job.id, "provider": job.provider, "reference": job.reference, "reply_url": job.reply_url}
        click.echo(harmless_json(told, indent=output == "json"))


def download_to(job: "JobHandle", path: Path) -> None:
    """Save the video, telling of the bytes on a terminal."""
    with bar("downloading") as show:
        job.download(path, on_progress=show)
    click.echo(f"saved {path}", err=True)


@contextmanager
def _told(job_id: str) -> "Iterator[Callable[[Notification], None]]":
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda told: click.echo(_in_words(told), err=True)
        return
    with console.status(f"{job_id}: waiting to be told", spinner="dots") as status:
        yield lambda told: status.update(_in_words(told))


def _in_words(told: "Notification") -> str:
    progress = told.data.get("progress")
    share = f" {progress} %" if told.type == "job.running" and progress is not None else ""
    reason = told.data.get("overdue_reason") if told.type == "job.overdue" else None
    return f"{told.data.get('id')}: {told.type}{share}{f' ({reason})' if reason else ''}"


@contextmanager
def bar(what: str, *, is_shown_at_once: bool = True) -> Iterator[Callable[[int, int | None], None] | None]:
    """What shows how far something is, in bytes, on a terminal; None elsewhere. It goes when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None, visible=is_shown_at_once)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
