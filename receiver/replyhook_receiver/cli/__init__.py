"""The command line: one file a command group."""

import signal
import sys

import click

from replyhook.errors import ReplyhookError
from replyhook_receiver.cli.bench import bench
from replyhook_receiver.cli.callbacks import callbacks
from replyhook_receiver.cli.completion import completion
from replyhook_receiver.cli.config import config
from replyhook_receiver.cli.db import db
from replyhook_receiver.cli.deliveries import deliveries
from replyhook_receiver.cli.demo import demo
from replyhook_receiver.cli.doctor import doctor
from replyhook_receiver.cli.endpoints import endpoints
from replyhook_receiver.cli.events import events
from replyhook_receiver.cli.exit_codes import FAILURE, INTERRUPTED, exit_code_of
from replyhook_receiver.cli.explain import explain
from replyhook_receiver.cli.harmless import harmless
from replyhook_receiver.cli.hold import hold
from replyhook_receiver.cli.jobs import jobs
from replyhook_receiver.cli.keys import keys
from replyhook_receiver.cli.listen import listen
from replyhook_receiver.cli.providers import providers
from replyhook_receiver.cli.sandbox import sandbox
from replyhook_receiver.cli.serve import serve
from replyhook_receiver.cli.submit import submit
from replyhook_receiver.cli.trigger import trigger
from replyhook_receiver.cli.verify import verify
from replyhook_receiver.cli.version import version
from replyhook_receiver.cli.worker import worker


@click.version_option(package_name="replyhook", message="replyhook %(version)s")
@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def replyhook() -> None:
    """Submit video-extend jobs, be called back once, never poll, never lose a video.

    Start with `replyhook demo`: it runs the whole thing on this machine and shows what happened.
    """


for command in (
    demo,
    serve,
    worker,
    config,
    doctor,
    sandbox,
    submit,
    jobs,
    callbacks,
    events,
    explain,
    endpoints,
    deliveries,
    listen,
    keys,
    trigger,
    verify,
    providers,
    db,
    hold,
    bench,
    completion,
    version,
):
    replyhook.add_command(command)


def run() -> None:
    """Run the command line; errors are one line on stderr and an exit code."""
    # A command that is told to end cleans up as after Ctrl-C; `serve` has its own, gentler way.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        replyhook.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except ReplyhookError as error:  # before OSError: WaitTimeout is one too
        click.echo(f"replyhook: {harmless(str(error), lines=True)}", err=True)  # it may hold a provider's words
        sys.exit(exit_code_of(error))
    except OSError as error:
        click.echo(f"replyhook: {error}", err=True)
        sys.exit(FAILURE)
