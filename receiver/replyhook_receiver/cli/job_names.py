"""Which job is meant by a name that a person gives: its id, a reference, the provider's id, an id of what it has."""

import click

from replyhook.errors import JobNotFound
from replyhook.ids import is_id
from replyhook_receiver.cli.asking import ask
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.on_file import named_file

_LONGEST_NAME = 200


def job_called(name: str) -> str:
    """The id of the job; of several the newest, and stderr names the others. Raises ``JobNotFound`` in words."""
    first, *others = _jobs_called(name)
    if others:
        click.echo(
            f"{len(others) + 1} jobs are called so; the newest is told. The others: {', '.join(others)}", err=True
        )
    return first


def job_meant(name: str | None, *, is_one: bool = False) -> str | None:
    """The id for a filter's ``--job``, if one was given; ``is_one`` as for ``job_named``."""
    return None if name is None else job_named(name, is_one=is_one)


def job_named(name: str, *, is_one: bool = False) -> str:
    """The id for a command's JOB; an id is taken as it is. ``is_one``: something is done, so it must be clear."""
    if is_id("job", name):
        return name
    if not is_one:
        return job_called(name)
    first, *others = _jobs_called(name)
    if others:
        raise click.UsageError(f"several jobs are called so, name one by its id: {', '.join((first, *others))}")
    return first


def _jobs_called(name: str) -> list[str]:
    found = ask("GET", "/v1/find", query={"name": name})["data"]
    shown = harmless(name, longest=_LONGEST_NAME)
    if not found:
        where = "here" if (file := named_file()) is None else f"in {file}"
        raise JobNotFound(
            f"nothing is called {shown} {where}: neither job, callback, event, delivery, notification nor reference"
        )
    jobs: list[str] = list(dict.fromkeys(harmless(each["job_id"]) for each in found if each["job_id"]))
    if not jobs:
        raise JobNotFound(
            f"{shown} is an orphan: nobody has named its job yet. `replyhook callbacks get {harmless(found[0]['id'])}` "
            "shows it, `replyhook callbacks bind` says whose it is"
        )
    return jobs
