"""Puts the sandbox together: one application, all imitations, nothing left running when it ends."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from replyhook_receiver.sandbox.admin import Admin
from replyhook_receiver.sandbox.aihubmax import AiHubMax
from replyhook_receiver.sandbox.fal import Fal
from replyhook_receiver.sandbox.jobs import Jobs
from replyhook_receiver.sandbox.ledger import Ledger
from replyhook_receiver.sandbox.media import Media
from replyhook_receiver.sandbox.options import EVERY_PROVIDER, SandboxOptions
from replyhook_receiver.sandbox.outbound import Outbound
from replyhook_receiver.sandbox.pixverse import PixVerse
from replyhook_receiver.sandbox.segmind import Segmind
from replyhook_receiver.sandbox.stage import Refusal, Stage, answer_refusal
from replyhook_receiver.sandbox.useapi import UseApi


class Imitation(Protocol):
    """What a provider's file has to offer the application."""

    def routes(self) -> list[BaseRoute]: ...
    def admin_routes(self) -> list[BaseRoute]: ...


# One line for each imitation.
IMITATIONS = (AiHubMax, PixVerse, Fal, Segmind, UseApi)
PROVIDERS = tuple(imitation.name for imitation in IMITATIONS)


def sandbox_settings(options: SandboxOptions) -> dict[str, dict[str, str]]:
    """What a client or receiver has to be told, by provider, to reach the imitations instead of the real ones."""
    return {imitation.name: imitation.settings(options) for imitation in IMITATIONS}


def enter_webhooks(options: SandboxOptions, urls: Mapping[str, str]) -> SandboxOptions:
    """``options`` with the webhook URLs, by provider, that a customer enters in a provider's console."""
    if PixVerse.name in urls:  # the only one with a console; the others are told an address with each job
        options = PixVerse.enter_webhook(options, urls[PixVerse.name])
    return options


def create_sandbox(options: SandboxOptions) -> Starlette:
    """The sandbox as an application; its lifespan has to be run, as a server does.

    ``ValueError`` for a fault that the named provider cannot have.
    """
    _check_faults(options)
    outbound = Outbound()
    ledger = Ledger(PROVIDERS)
    media = Media(options.work_dir, options.base_url, slow_bytes_per_second=options.slow_bytes_per_second)
    jobs = Jobs(
        speed=options.speed,
        generation_seconds=options.generation_seconds,
        outbound=outbound,
        media=media,
        ledger=ledger,
    )
    stage = Stage(options=options, ledger=ledger, media=media, outbound=outbound, jobs=jobs)
    imitations: list[Imitation] = [imitation(stage) for imitation in IMITATIONS]
    admin = [*Admin(stage).routes(), *(route for each in imitations for route in each.admin_routes())]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        media.prepare(PROVIDERS)
        # The jobs end before the way out closes: their last callbacks use it.
        async with outbound, jobs.working():
            yield

    return Starlette(
        routes=[
            *(route for each in imitations for route in each.routes()),
            *media.routes(),
            Mount("/_sandbox", routes=admin),
        ],
        exception_handlers={Refusal: answer_refusal},
        lifespan=lifespan,
    )


def _check_faults(options: SandboxOptions) -> None:
    possible = {imitation.name: imitation.faults for imitation in IMITATIONS}
    for provider, fault in options.faults.items():
        if provider != EVERY_PROVIDER and fault not in possible.get(provider, frozenset()):
            raise ValueError(f"faults: {provider} cannot have the fault {fault}")
