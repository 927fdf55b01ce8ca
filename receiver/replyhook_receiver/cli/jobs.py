"""`replyhook jobs`: what a receiver's jobs can be told by hand."""

import os

import click

from replyhook.environment import with_files
from replyhook.errors import ReceiverUnavailable
from replyhook.messages import HTTPRequest, HTTPResponse, as_object
from replyhook.receiver_api import ReceiverAPI
from replyhook.transport import ConnectionTrouble, Transport

_SECONDS = 30.0


@click.group()
def jobs() -> None:
    """The jobs of the receiver at REPLYHOOK_RECEIVER_URL, with the key in REPLYHOOK_API_KEY."""


@jobs.command()
@click.argument("job")
@click.argument("provider_job_id")
def bind(job: str, provider_job_id: str) -> None:
    """Say what the provider calls JOB, whose submit had no known outcome.

    Look PROVIDER_JOB_ID up in the provider's console. What the provider has told of it is then the job's; if the
    receiver has the provider's key, it asks how the job stands.
    """
    receiver = receiver_from_environ()
    answer = as_object(
        send(receiver, receiver.build_submission(job, outcome="accepted", provider_job_id=provider_job_id)).json()
    )
    click.echo(f"{answer.get('id', job)} is bound; its status is {answer.get('status')}")


def receiver_from_environ() -> ReceiverAPI:
    """The receiver that the environment names. Raises ``ConfigurationError``."""
    environ = with_files(os.environ)
    return ReceiverAPI(url=environ.get("REPLYHOOK_RECEIVER_URL", ""), api_key=environ.get("REPLYHOOK_API_KEY", ""))


def send(receiver: ReceiverAPI, request: HTTPRequest) -> HTTPResponse:
    """The receiver's answer. Raises the typed error of one other than success, ``ReceiverUnavailable`` for none."""
    transport = Transport(timeout_seconds=_SECONDS)
    try:
        answer = transport.send(request)
    except ConnectionTrouble as error:
        raise ReceiverUnavailable(f"the receiver could not be reached: {error}") from error
    finally:
        transport.close()
    receiver.raise_for_problem(answer)
    return answer
