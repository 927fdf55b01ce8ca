"""`replyhook trigger`: send a realistic callback to a running receiver, to try out what follows from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click

from replyhook.errors import ConfigurationError, InvalidRequest, ReceiverError, ReceiverUnavailable
from replyhook.ids import new_id
from replyhook.messages import HTTPRequest
from replyhook.providers import Provider
from replyhook.transport import Transport
from replyhook.trouble import ConnectionTrouble
from replyhook_receiver.cli.asking import ask, receiver_from_environ
from replyhook_receiver.cli.harmless import harmless, harmless_json
from replyhook_receiver.cli.job_names import job_named
from replyhook_receiver.cli.settings import settings_from
from replyhook_receiver.cli.shown import output_option, print_rows
from replyhook_receiver.cli.trigger_signing import ask_sandbox, fal_headers, pixverse_headers, sandbox_at
from replyhook_receiver.cli.triggers import NAMES, NOTES, RELAYED, Subject, body_of, made_up_id

_PERSONAL = "(personal)"
_HIDDEN = "(hidden)"
_SECONDS = 30.0
_SIGNATURE_HEADERS = {
    "fal": tuple(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp", "signature")),
    "pixverse": ("webhook-timestamp", "webhook-nonce", "webhook-signature"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be triggered, as the command line says it, with the provider as it is set up here."""

    name: str
    provider_name: str
    provider: Provider
    job_id: str | None
    provider_job_id: str | None
    video: str


@click.command()
@click.argument("name", required=False)
@click.option("--list", "is_list", is_flag=True, help="Name all that can be triggered.")
@click.option("--job", "job_id", help="The job that it is about, by its id or your reference.  [default: one is made]")
@click.option("--provider-job-id", help="What the provider calls the job.  [default: as the receiver knows it]")
@click.option("--video", help="The link of a success.  [default: the sandbox's clip, else one that is dead]")
@click.option("--dry-run", is_flag=True, help="Print the request, without its secrets. Nothing is sent or made.")
@click.option("--public", "is_public", is_flag=True, help="By the receiver's public URL, as the provider would.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML).")
@output_option
def trigger(
    name: str | None,
    is_list: bool,
    job_id: str | None,
    provider_job_id: str | None,
    video: str | None,
    dry_run: bool,
    is_public: bool,
    config: Path | None,
    output: str,
) -> None:
    """Send the callback NAME, such as useapi.succeeded, to a running receiver, and see what follows.

    Needs REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY. The receiver believes it as it would the provider: by the token
    in the job's reply URL; PixVerse's by its webhook secret too, which the settings here must hold; fal's only where
    the receiver takes fal's keys from `replyhook sandbox`. A job is made where none is named: it is one like any
    other, and is overdue if no end is triggered.
    """
    if is_list:
        _print_names(output)
        return
    if name not in NAMES:
        raise click.UsageError(f"give one of {', '.join(NAMES)}")
    order = _order(name, config, job_id=job_id, provider_job_id=provider_job_id, video=video)
    if name in RELAYED:
        told = _relay(order, dry_run=dry_run)
    else:
        told = _call_back(order, dry_run=dry_run, is_public=is_public)
    if told is not None:
        _print(told, output)


def _order(name: str, config: Path | None, *, video: str | None, **more: Any) -> _Order:
    provider_name = name.partition(".")[0]
    provider = settings_from(config).make_providers()[provider_name]
    sandbox = sandbox_at(_base_url(provider))
    if video is None and sandbox is not None:
        video = f"{sandbox}/_sandbox/source.mp4?seconds=1"
    elif video is None:
        host = next(iter(provider.capabilities.media_hosts), "media.example.com").removeprefix(".")
        video = f"https://{host}/replyhook-trigger.mp4"
        if name.endswith(".succeeded"):
            click.echo(f"its video is {video}, which is not there: give one with --video", err=True)
    return _Order(name=name, provider_name=provider_name, provider=provider, video=video, **more)


def _base_url(provider: Provider) -> str:
    return provider.build_status("0").url


def _call_back(order: _Order, *, dry_run: bool, is_public: bool) -> dict[str, Any] | None:
    if dry_run:
        receiver = receiver_from_environ().url.rstrip("/")
        provider_job_id = order.provider_job_id or made_up_id(order.provider_name)
        subject = Subject(job_id=order.job_id or new_id("job"), provider_job_id=provider_job_id, video=order.video)
        _print_request(order, f"{receiver}/callbacks/{order.provider_name}/{_HIDDEN}", body_of(order.name, subject))
        return None
    if order.provider_name == "fal":
        fal_headers(order.provider, "", b"")  # before a job is made that nobody could call back
    subject, reply_url, account = _known_job(order) if order.job_id else _new_job(order)
    body = body_of(order.name, subject)
    url = reply_url if is_public else _at_receiver(reply_url)
    request = HTTPRequest(method="POST", url=url, headers=_headers(order, subject, account, body), body=body)
    answer = _send(order, request)
    return {"trigger": order.name, "job": subject.job_id, "answer": answer}


def _new_job(order: _Order) -> tuple[Subject, str, str]:
    """A job that is as if it had been submitted: what is told of it, its reply URL, and its account."""
    job_id = new_id("job")
    provider_job_id = order.provider_job_id or made_up_id(order.provider_name)
    account = order.provider.account
    registration = {
        "provider": order.provider_name,
        "account": account,
        "reference": "trigger",
        "request": {"prompt": "(a trigger)"},
    }
    registered = ask("PUT", f"/v1/jobs/{job_id}", content=registration)
    submission = {"outcome": "accepted", "provider_job_id": provider_job_id}
    ask("POST", f"/v1/jobs/{job_id}/submission", content=submission)
    return Subject(job_id=job_id, provider_job_id=provider_job_id, video=order.video), registered["reply_url"], account


def _known_job(order: _Order) -> tuple[Subject, str, str]:
    path = f"/v1/jobs/{quote(job_named(order.job_id or '', is_one=True), safe='')}"
    job = ask("GET", path)
    if job["provider"] != order.provider_name:
        raise InvalidRequest("job", job["id"], f"a job of {order.provider_name}; this one is {job['provider']}'s")
    known = job["provider_job_id"]
    provider_job_id = order.provider_job_id or (None if known == _PERSONAL else known)
    if provider_job_id is None and order.provider_name != "useapi":
        raise InvalidRequest(
            "provider_job_id", None, "what the provider calls this job: the receiver does not know yet"
        )
    answer = ask("POST", f"{path}/reply-url")
    subject = Subject(job_id=job["id"], provider_job_id=provider_job_id, video=order.video)
    return subject, answer["reply_url"], answer["account"]


def _headers(order: _Order, subject: Subject, account: str, body: bytes) -> dict[str, str]:
    headers = {"content-type": "application/json", "user-agent": "replyhook-trigger"}
    if order.provider_name == "pixverse":
        return headers | pixverse_headers(order.provider, account, body)
    if order.provider_name == "fal":
        return headers | fal_headers(order.provider, subject.provider_job_id or "", body)
    return headers


def _at_receiver(reply_url: str) -> str:
    """The reply URL at the address by which this command reaches the receiver."""
    path = urlsplit(reply_url).path
    return f"{receiver_from_environ().url.rstrip('/')}{path[path.index('/callbacks/') :]}"


def _send(order: _Order, request: HTTPRequest) -> str:
    transport = Transport(timeout_seconds=_SECONDS)
    try:
        answer = transport.send(request)
    except ConnectionTrouble as error:
        raise ReceiverUnavailable(f"the receiver could not be reached: {error}") from error
    finally:
        transport.close()
    if answer.status == 401:
        raise ConfigurationError(
            f"the receiver did not believe the callback (401): {_why_not_believed(order.provider_name)}"
        )
    if answer.status != 200:
        raise ReceiverError(f"the receiver answered {answer.status} to the callback", status=answer.status)
    return f"{answer.status} {answer.body.decode('ascii', 'replace').strip()}"


def _why_not_believed(provider: str) -> str:
    if provider == "fal":
        return "does it take fal's keys from this sandbox (jwks_url), and are its user_ids the sandbox's?"
    if provider == "pixverse":
        return "are its webhook_secrets for this account those of the settings here?"
    return "GET /v1/refusals counts why"


def _relay(order: _Order, *, dry_run: bool) -> dict[str, Any] | None:
    """A whole job, which the receiver submits at the sandbox; only there, since a real one would be billed."""
    sandbox = sandbox_at(_base_url(order.provider))
    if order.job_id or order.provider_job_id:
        raise InvalidRequest("job", order.job_id, "none: Segmind's callback is the answer to a submit of its own")
    if sandbox is None:
        raise ConfigurationError(
            "Segmind calls nobody back: its answer to the receiver's own, billed submit is the callback. It can be "
            "tried at the sandbox: start `replyhook sandbox`, and give what it prints to the receiver and this command"
        )
    request = {"prompt": RELAYED[order.name], "duration": 5}
    content = {"provider": "segmind", "reference": "trigger", "video": order.video, "request": request}
    if dry_run:
        click.echo(f"POST {receiver_from_environ().url.rstrip('/')}/v1/jobs\n\n{harmless_json(content)}")
        return None
    ask_sandbox(HTTPRequest(method="GET", url=f"{sandbox}/_sandbox/calls"))
    job = ask("POST", "/v1/jobs", content=content)
    return {"trigger": order.name, "job": job["id"], "answer": "202: the receiver submits it"}


def _print_request(order: _Order, url: str, body: bytes) -> None:
    click.echo(f"POST {harmless(url)}")
    click.echo("content-type: application/json")
    for name in _SIGNATURE_HEADERS.get(order.provider_name, ()):
        click.echo(f"{name}: {_HIDDEN if name.endswith('signature') else '(made when it is sent)'}")
    click.echo(f"\n{harmless(body.decode())}")


def _print_names(output: str) -> None:
    listed = [{"id": name, "note": NOTES.get(name)} for name in NAMES]
    if output == "json":
        click.echo(harmless_json({"data": listed}))
    elif output == "table":
        print_rows(("trigger", "note"), [(name, NOTES.get(name)) for name in NAMES])
    else:
        for entry in listed:
            click.echo(entry["id"] if output == "id" else harmless_json(entry, indent=False))


def _print(told: dict[str, Any], output: str) -> None:
    if output in ("json", "jsonl"):
        click.echo(harmless_json(told, indent=output == "json"))
    else:
        click.echo(harmless(told["job"]))
    click.echo(f"{told['trigger']}: {harmless(told['answer'])}; `replyhook explain {harmless(told['job'])}`", err=True)
