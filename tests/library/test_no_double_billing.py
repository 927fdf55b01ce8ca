"""Whatever the providers do, and however a submit goes from one to the next, one job asked for is one job billed.

The sandbox is the real one, over HTTP; only the pauses are not waited: the flow is driven by hand, with its own clock.
"""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import uvicorn
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replyhook.arguments import ClientSettings
from replyhook.errors import NoProviderLeft, ReplyhookError, SubmitOutcomeUnknown
from replyhook.flows import with_purpose
from replyhook.patience import Patience
from replyhook.planning import prepare
from replyhook.routing import Routing
from replyhook.steps import Pause, Submitted
from replyhook.transport import Transport
from replyhook.trouble import ConnectionTrouble
from replyhook_receiver.sandbox import SandboxOptions, create_sandbox
from replyhook_receiver.sandbox.app import sandbox_settings
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from replyhook_receiver.work.relay import Relay
from tests.library.loopback import World, says
from tests.receiver.support import API_KEY, AUTH, SECRETS, settings_for

SUBMITS = {
    "aihubmax": "/aihubmax/v1/videos/generations",
    "fal": "/fal/fal-ai/pixverse/v6/extend",
    "pixverse": "/pixverse/openapi/v2/video/extend/generate",
    "segmind": "/segmind/v1/pixverse-5-extend",
    "useapi": "/useapi/v2/pixverse/videos/extend-v3",
}
DIRECT = sorted(set(SUBMITS) - {"segmind"})
REFUSALS = {
    "aihubmax": ("400", "401", "402", "422", "429", "500", "503"),
    "fal": ("400", "401", "402", "403", "422", "429", "500", "503", "504"),
    "pixverse": ("400017", "400012", "500044", "500054", "500090", "99999"),
    "segmind": ("400", "401", "403", "404", "406", "429", "500", "502", "504"),
    "useapi": ("400", "401", "412", "422", "429", "500", "596"),
}
FAULTS = ("none", "lost_answer", "early", "duplicate", "never", "failed")
RELAYED_FAULTS = ("none", "lost_answer", "failed", "moderated", "garbage", "cut_off", "truncated", "html", "no_result")
Wish = tuple[str, str]


@dataclass
class Scheduled:
    """The sandbox, whose next submits each have what is next on their provider's list go wrong."""

    app: ASGIApp
    wishes: dict[str, list[Wish]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The providers in the order in which they were sent a submit."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = next((name for name, path in SUBMITS.items() if scope.get("path") == path), None)
        if provider:
            self.asked.append(provider)
            if waiting := self.wishes.get(provider):
                kind, what = waiting.pop(0)
                scope["headers"] = [*scope["headers"], (f"x-sandbox-{kind}".encode(), what.encode())]
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class Sandbox:
    url: str
    schedule: Scheduled
    providers: dict[str, dict[str, str]]
    clip: bytes = field(repr=False)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that any provider has taken on, when all have ended."""
        for _ in range(1200):
            with urlopen(f"{self.url}/_sandbox/jobs", timeout=60) as answer:  # noqa: S310 - loopback
                jobs: list[dict[str, Any]] = json.load(answer)
            if all(job["finished_at"] for job in jobs):
                return jobs
            time.sleep(0.05)
        raise AssertionError("a job of the sandbox does not end")

    def billed(self) -> int:
        with urlopen(f"{self.url}/_sandbox/calls", timeout=60) as answer:  # noqa: S310 - loopback
            return sum(calls["billed"] for calls in json.load(answer).values())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    pytest.importorskip("av", reason="the sandbox makes its videos with PyAV ([media]), which is not installed here")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        folder: Path = tmp_path_factory.mktemp("sandbox")
        hook = {"1": (f"{url}/nowhere", "a-webhook-secret")}
        options = SandboxOptions(base_url=url, work_dir=folder, speed=100_000.0, pixverse_webhooks=hook)
        schedule = Scheduled(create_sandbox(options))
        config = uvicorn.Config(schedule, log_level=60, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        providers = sandbox_settings(options)
        with urlopen(f"{url}/_sandbox/source.mp4?seconds=0.5", timeout=10) as answer:  # noqa: S310 - loopback
            clip = answer.read()
        yield Sandbox(url=url, schedule=schedule, providers=providers, clip=clip)
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive()


def run(routing: Routing, transport: Transport, pass_by: Callable[[float], None]) -> Submitted:
    """Drive a submit as the clients do, but for the pauses, in which only the flow's own clock goes on."""
    flow = routing.steps()
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                pass_by(step.seconds)
                step = flow.send(None)
                continue
            try:
                answer = transport.send(step.request)
            except ConnectionTrouble as error:
                step = flow.throw(with_purpose(error, step.purpose, maybe_sent=error.maybe_sent))
            else:
                step = flow.send(answer)
    except StopIteration as done:
        ended: Submitted = done.value
        return ended


def wishes(provider: str) -> st.SearchStrategy[list[Wish]]:
    refusal = st.tuples(st.just("refuse"), st.sampled_from(REFUSALS[provider]))
    fault = st.tuples(st.just("fault"), st.sampled_from(RELAYED_FAULTS if provider == "segmind" else FAULTS))
    return st.lists(refusal | fault, max_size=5)


# Not shrunk: over HTTP that would take minutes.
@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    schedule=st.fixed_dictionaries({name: wishes(name) for name in DIRECT}),
    named=st.lists(st.sampled_from(DIRECT), min_size=1, unique=True),
    patience=st.sampled_from([0.0, 45.0, 300.0]),
)
def test_one_job_asked_for_is_never_billed_twice(
    sandbox: Sandbox,
    fresh_world: Callable[[], World],
    schedule: dict[str, list[Wish]],
    named: list[str],
    patience: float,
) -> None:
    random.seed()  # Hypothesis seeds it for each example, and the sandbox would give the same ids again
    world = fresh_world()
    world.will_answer("POST /callbacks/", says(200))
    sandbox.schedule.wishes = {name: list(waiting) for name, waiting in schedule.items()}
    sandbox.schedule.asked.clear()
    jobs_before, billed_before = len(sandbox.jobs()), sandbox.billed()
    client = ClientSettings.build(world.url, "rk", None, sandbox.providers)
    arguments: Any = {"provider": named, "video": sandbox.clip, "prompt": "on", "duration": 5, "quality": "360p"}
    plan, seconds = prepare(client, {**arguments, "patience": patience})
    now = [0.0]

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    routing = Routing(plan, client.receiver, Patience(seconds, clock=lambda: now[0], jitter=lambda: 0.5))
    transport = Transport(timeout_seconds=60)
    submitted, trouble = None, None
    try:
        submitted = run(routing, transport, pass_by)
    except ReplyhookError as error:
        trouble = error
    finally:
        transport.close()
    taken_on = sandbox.jobs()[jobs_before:]
    assert len(taken_on) <= 1
    assert sandbox.billed() - billed_before <= 1
    asked = sandbox.schedule.asked
    last = [] if isinstance(trouble, NoProviderLeft) else [routing.submission.provider.capabilities.name]
    assert list(dict.fromkeys(asked)) == [*[name for name, _ in routing.tried], *last]
    if submitted is not None:
        assert [(job["provider"], job["id"]) for job in taken_on] == [(asked[-1], submitted.provider_job_id)]
    if isinstance(trouble, NoProviderLeft):
        assert not taken_on
    told = [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")]
    if taken_on:  # the caller knows of every job that was started
        assert submitted is not None or isinstance(trouble, SubmitOutcomeUnknown)
        assert told[-1] in ("accepted", "unknown")
    assert told[:-1] == ["refused"] * (len(told) - 1)
    assert now[0] <= patience


@pytest.mark.parametrize("provider", ["useapi", "pixverse", "fal"])
def test_too_many_twice_and_then_a_place_is_one_job_billed(
    sandbox: Sandbox, fresh_world: Callable[[], World], provider: str
) -> None:
    busy = "500044" if provider == "pixverse" else "429"
    sandbox.schedule.wishes = {provider: [("refuse", busy)] * 2}
    sandbox.schedule.asked.clear()
    billed_before = sandbox.billed()
    client = ClientSettings.build(fresh_world().url, "rk", None, sandbox.providers)
    arguments: Any = {"provider": provider, "video": sandbox.clip, "prompt": "on", "duration": 5, "quality": "360p"}
    plan, seconds = prepare(client, arguments)
    pauses: list[float] = []
    patience = Patience(seconds, clock=lambda: sum(pauses), jitter=lambda: 0.5)
    transport = Transport(timeout_seconds=60)
    try:
        submitted = run(Routing(plan, client.receiver, patience), transport, pauses.append)
    finally:
        transport.close()
    assert sandbox.schedule.asked == [provider] * 3
    assert pauses == [20.0, 20.0]  # 10 to 30, as useapi.net asks for
    assert sandbox.jobs()[-1]["id"] == submitted.provider_job_id
    assert sandbox.billed() - billed_before == 1


# All five, with the receiver that really is one: it submits to Segmind itself


@dataclass
class Forgetful:
    """The receiver, some of whose answers get lost on their way: it has done what it was asked to all the same."""

    app: ASGIApp
    losses: list[bool] = field(default_factory=list)
    """For each of the next calls that submit or report a job, whether its answer is lost."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_told = scope.get("method") in ("PUT", "POST") and scope.get("path", "").startswith("/v1/jobs")
        if not (is_told and self.losses and self.losses.pop(0)):
            await self.app(scope, receive, send)
            return

        async def nowhere(message: Message) -> None:
            del message

        await self.app(scope, receive, nowhere)
        await PlainTextResponse("the answer was lost", 502)(scope, receive, send)


@dataclass(frozen=True)
class RealReceiver:
    url: str
    forgetful: Forgetful

    def has_submitted(self, job_id: str) -> bool:
        """Whether the receiver, if it knows the job at all, is done with submitting it: one that waits is `created`."""
        request = Request(f"{self.url}/v1/jobs/{job_id}", headers=AUTH)  # noqa: S310 - loopback
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
                return bool(json.load(answer)["status"] != "created")
        except HTTPError as error:
            if error.code != 404:
                raise
            return True


@pytest.fixture(scope="module")
def receiver(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealReceiver]:
    bound = free_socket()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    settings = settings_for(tmp_path_factory.mktemp("receiver"), providers=sandbox.providers, public_url=url)
    app = create_app(settings, secrets=SECRETS)
    forgetful = Forgetful(app)
    own_pause = Relay._next_pause

    def soon(relay: Relay, *refusal: Any) -> float | None:
        """What is refused for now is sent again after 10 to 30 ms; it would be as many seconds."""
        pause = own_pause(relay, *refusal)
        return pause and pause / 1000

    ready, stop = threading.Event(), threading.Event()

    async def run_until_stopped() -> None:
        config = uvicorn.Config(forgetful, log_level=60, ws="none", lifespan="on", timeout_graceful_shutdown=1)
        async with served(app, bound, config=config):
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=[run_until_stopped()], daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Relay, "_next_pause", soon)
        thread.start()
        assert ready.wait(timeout=60)
        yield RealReceiver(url=url, forgetful=forgetful)
        stop.set()
        thread.join(timeout=60)
    assert not thread.is_alive()


@example(
    schedule={name: [] for name in DIRECT} | {"segmind": [("refuse", "429")] * 5}, named=["segmind"], losses=[], jobs=1
)
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    schedule=st.fixed_dictionaries({name: wishes(name) for name in SUBMITS}),
    named=st.just("auto") | st.just(["segmind"]) | st.lists(st.sampled_from(sorted(SUBMITS)), min_size=1, unique=True),
    losses=st.lists(st.booleans(), max_size=6),
    jobs=st.integers(1, 3),
)
def test_with_a_real_receiver_no_more_jobs_are_billed_than_were_asked_for(
    sandbox: Sandbox,
    receiver: RealReceiver,
    schedule: dict[str, list[Wish]],
    named: str | list[str],
    losses: list[bool],
    jobs: int,
) -> None:
    random.seed()  # as above
    sandbox.schedule.wishes = {name: list(waiting) for name, waiting in schedule.items()}
    jobs_before, billed_before = len(sandbox.jobs()), sandbox.billed()
    receiver.forgetful.losses = list(losses)
    client = ClientSettings.build(receiver.url, API_KEY, None, sandbox.providers)
    arguments: Any = {"provider": named, "video": sandbox.clip, "prompt": "on", "duration": 5, "quality": "360p"}
    transport = Transport(timeout_seconds=60)
    relayed: list[str] = []
    try:
        for _ in range(jobs):
            plan, _ = prepare(client, {**arguments, "patience": 0})
            relayed += [each.job_id for each in plan.submissions if each.provider.capabilities.name == "segmind"]
            routing = Routing(plan, client.receiver, Patience(0, clock=time.monotonic, jitter=float))
            with suppress(ReplyhookError):
                run(routing, transport, lambda _: None)
    finally:
        transport.close()
    for _ in range(1200):
        if all(receiver.has_submitted(job_id) for job_id in relayed):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the receiver does not end a submit")
    started = sandbox.jobs()[jobs_before:]
    assert len(started) <= jobs
    assert sandbox.billed() - billed_before <= jobs
