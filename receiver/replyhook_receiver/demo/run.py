"""Runs the demo: starts everything on loopback, submits one job to each provider, waits for the pushes, judges."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from replyhook import AsyncClient, AsyncJobHandle
from replyhook.errors import ReplyhookError, SubmitOutcomeUnknown
from replyhook.jobs import SourceKind
from replyhook.messages import HTTPRequest
from replyhook.providers import PROVIDERS, CallbackKind, Capabilities, make_provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook_receiver.config import Settings
from replyhook_receiver.demo.listener import Listener
from replyhook_receiver.demo.processes import started
from replyhook_receiver.demo.report import DemoResult, Expected, JobResult, ProviderCalls, judge
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.media import inspect
from replyhook_receiver.net import Door
from replyhook_receiver.own_secrets import Secrets, secrets_for
from replyhook_receiver.sandbox import Fault, SandboxOptions, create_sandbox, enter_webhooks, sandbox_settings
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from replyhook_receiver.web.parts import public_url_of

SOURCE_SECONDS = 2
EXTENSION_SECONDS = 5
QUALITY = "540p"
PROMPT = "the camera glides on over the hills"
LOOPBACK = "127.0.0.0/8"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """``directory`` gets the videos, ``work_directory`` everything else.

    ``fault`` and ``listener_answer`` break a step on purpose, to see what is said then.
    """

    directory: Path
    work_directory: Path
    timeout_seconds: float = 60.0
    speed: float = 30.0
    fault: Fault = Fault.NONE
    listener_answer: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """Everything that runs."""

    options: DemoOptions
    sandbox_url: str
    receiver_url: str
    listener_url: str
    listener: Listener
    secrets: Secrets = field(repr=False)
    client: AsyncClient
    door: Door
    say: Say


async def run_demo(
    options: DemoOptions,
    *,
    say: Say,
    show: Callable[[DemoResult], None],
    serve: Callable[[str, Secrets], Awaitable[None]] | None = None,
) -> DemoResult:
    """Run it. ``say`` is told of the progress and ``show`` of the result; ``serve``, if given, is awaited at the end,
    while everything runs on."""
    options.directory.mkdir(parents=True, exist_ok=True)
    async with _stage(options, say) as stage:
        say(f"receiver {stage.receiver_url} · sandbox providers {stage.sandbox_url} · listener {stage.listener_url}")
        jobs = list(await asyncio.gather(*(_one_job(stage, name) for name in PROVIDERS)))
        result = DemoResult.of(jobs)
        show(result)
        if serve is not None:
            await serve(stage.receiver_url, stage.secrets)
        return result


@asynccontextmanager
async def _stage(options: DemoOptions, say: Say) -> AsyncIterator[_Stage]:
    async with AsyncExitStack() as stack:
        receiver_socket, sandbox_socket, listener_socket = free_socket(), free_socket(), free_socket()
        sandbox = SandboxOptions(
            base_url=f"http://127.0.0.1:{sandbox_socket.getsockname()[1]}",
            work_dir=options.work_directory / "sandbox",
            speed=options.speed,
            faults={"*": options.fault},
        )
        providers: dict[str, dict[str, Any]] = {
            name: dict(values) for name, values in sandbox_settings(sandbox).items()
        }
        settings = Settings(
            port=receiver_socket.getsockname()[1],
            data_dir=options.work_directory / "receiver",
            allowed_networks=(LOOPBACK,),
            providers=providers,
        )
        secrets = secrets_for(settings)
        sandbox = enter_webhooks(sandbox, _account_webhooks(settings, secrets))
        listener = Listener(secrets=secrets.notification_secrets, answer=options.listener_answer)
        listener_url = await stack.enter_async_context(served(listener.app(), listener_socket))
        imitations = await stack.enter_async_context(started(create_sandbox, sandbox, bound=sandbox_socket))
        receiver = await stack.enter_async_context(started(_receiver, settings, secrets, bound=receiver_socket))
        sandbox_url, receiver_url = await imitations.until_ready(), await receiver.until_ready()
        client = AsyncClient(receiver_url=receiver_url, api_key=secrets.api_keys[0], providers=providers)
        yield _Stage(
            options=options,
            sandbox_url=sandbox_url,
            receiver_url=receiver_url,
            listener_url=listener_url,
            listener=listener,
            secrets=secrets,
            client=await stack.enter_async_context(client),
            door=await stack.enter_async_context(Door(allowed_networks=(LOOPBACK,))),
            say=say,
        )


def _receiver(settings: Settings, secrets: Secrets) -> Starlette:
    return create_app(settings, secrets=secrets)


def _account_webhooks(settings: Settings, secrets: Secrets) -> dict[str, str]:
    """The URLs to enter in the consoles of providers that have one webhook for a whole account."""
    tokens = TokenKeys(secrets.signing_keys)
    return {
        name: build_reply_url(
            public_url_of(settings),
            provider=name,
            token=tokens.mint_account(provider=name, account=provider.account),
        )
        for name, provider in settings.make_providers().items()
        if provider.capabilities.callback is CallbackKind.ACCOUNT
    }


async def _one_job(stage: _Stage, provider: str) -> JobResult:
    """Submit, wait for the push, take the video, judge."""
    try:
        job = await stage.client.submit(
            provider=provider,
            video=f"{stage.sandbox_url}/_sandbox/source.mp4?seconds={SOURCE_SECONDS}",
            prompt=PROMPT,
            duration=EXTENSION_SECONDS,
            quality=QUALITY,
            reply_ref=f"demo-{provider}",
            user="demo",
            notify=[f"{stage.listener_url}/hooks"],
        )
    except SubmitOutcomeUnknown as error:
        stage.say(f"{provider}: {error}; not sent again, since a callback may settle it")
        job = error.job
    except ReplyhookError as error:
        return JobResult(provider=provider, problem=f"the submit failed: {error}")
    stage.say(f"{provider}: submitted as {job.id}; waiting for the push")
    try:
        await job.wait(stage.options.timeout_seconds)
        path = await job.download(stage.options.directory / f"{provider}.mp4")
    except ReplyhookError as error:
        why = f"{error} ({await _explain(stage, provider, job.id)})"
        return JobResult(provider=provider, job_id=job.id, provider_calls=await _calls(stage, provider), problem=why)
    stage.say(f"{provider}: the video is stored")
    return await _judged(stage, job, path)


async def _judged(stage: _Stage, job: AsyncJobHandle, path: Path) -> JobResult:
    notified_at = await stage.listener.wait_for_stored(job.id, seconds=min(10.0, stage.options.timeout_seconds))
    shown = await _get(stage, f"{stage.receiver_url}/v1/jobs/{job.id}", stage.secrets.api_keys[0])
    try:
        duration = (await asyncio.to_thread(inspect, path)).duration_seconds
    except ReceiverTrouble as error:
        return JobResult(provider=job.provider, job_id=job.id, path=str(path), problem=str(error))
    digest = hashlib.sha256(await asyncio.to_thread(path.read_bytes)).hexdigest()
    calls = await _calls(stage, job.provider)
    found = {**shown, "duration": duration, "digest": digest, "sha256": shown["video"]["sha256"]}
    problem = judge(
        found,
        expected=_expected(make_provider(job.provider).capabilities),
        calls=calls,
        notifications=len(stage.listener.stored(job.id)),
        refused=stage.listener.unverified,
    )
    if notified_at is None and stage.listener.turned_away:
        problem = f"{problem}; the listener answered {stage.options.listener_answer}"
    return JobResult(
        provider=job.provider,
        job_id=job.id,
        trust=shown["trust"],
        seconds_to_callback=_seconds(shown["submitted_at"], shown["called_back_at"]),
        seconds_to_stored=_seconds(shown["called_back_at"], shown["video"]["stored_at"]),
        seconds_to_notified=_seconds(shown["called_back_at"], notified_at),
        bytes=shown["video"]["bytes"],
        duration=duration,
        provider_calls=calls,
        path=str(path),
        ok=problem is None,
        problem=problem,
    )


def _expected(capabilities: Capabilities) -> Expected:
    if capabilities.callback is CallbackKind.NONE:
        trust = "relayed"
    else:
        trust = "signed" if capabilities.signed else "token_only"
    uploads = 0 if SourceKind.URL in capabilities.takes else 1
    return Expected(trust=trust, uploads=uploads, duration=SOURCE_SECONDS + EXTENSION_SECONDS)


async def _calls(stage: _Stage, provider: str) -> ProviderCalls:
    counted = (await _get(stage, f"{stage.sandbox_url}/_sandbox/calls")).get(provider, {})
    return ProviderCalls(**{name: counted.get(name, 0) for name in ("submit", "status", "upload")})


async def _explain(stage: _Stage, provider: str, job_id: str) -> str:
    """Why no video came: what the provider sent and what the receiver made of it."""
    jobs = (await _get(stage, f"{stage.sandbox_url}/_sandbox/jobs")).get("data", [])
    sent = [attempt for job in jobs if job["provider"] == provider for attempt in job["callbacks"]]
    answers = ", ".join(sorted({f"{attempt['kind']} → {attempt['status'] or attempt['error']}" for attempt in sent}))
    api_key = stage.secrets.api_keys[0]
    kept = (await _get(stage, f"{stage.receiver_url}/v1/callbacks?job={job_id}", api_key)).get("data", [])
    refused = (await _get(stage, f"{stage.receiver_url}/v1/refusals", api_key)).get(provider, {})
    verdicts = ", ".join(callback["verdict"] for callback in reversed(kept))
    reasons = ", ".join(f"{count} time{'s' * (count != 1)}: {reason}" for reason, count in refused.items())
    shown = await _get(stage, f"{stage.receiver_url}/v1/jobs/{job_id}", api_key)
    why = shown.get("overdue_reason") or shown.get("video", {}).get("problem")
    parts = [f"the job is {shown.get('status')}" + (f": {why}" if why else "")]
    if sent:
        parts.append(f"the provider called back: {answers}")
    elif not kept:
        parts.append("the provider never called back in this time")
    parts += [f"the receiver kept them as: {verdicts}"] if verdicts else []
    parts += [f"the receiver refused: {reasons}"] if reasons else []
    return "; ".join(parts)


async def _get(stage: _Stage, url: str, api_key: str = "") -> dict[str, Any]:
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    answer = (await stage.door.send(HTTPRequest(method="GET", url=url, headers=headers))).json()
    return answer if isinstance(answer, dict) else {"data": answer}


def _seconds(start: str | None, end: str | datetime | None) -> float | None:
    if start is None or end is None:
        return None
    until = end if isinstance(end, datetime) else datetime.fromisoformat(end)
    return round((until - datetime.fromisoformat(start)).total_seconds(), 3)
