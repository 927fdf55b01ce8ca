"""One case's server, which runs in a process of its own (``__main__``).

It says its port as a line of JSON; then answers each line on its standard input with its counts so far, and ends with
its input.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook_receiver.bench.cases import DATABASE
from replyhook_receiver.bench.traffic import FAL_USER, REPLY_KEY
from replyhook_receiver.config import Settings
from replyhook_receiver.own_secrets import secrets_for
from replyhook_receiver.serving import configure_logging, free_socket, keep_garbage_collection_rare, served
from replyhook_receiver.stores.sql.store import SQLStore
from replyhook_receiver.web.app import create_app

Counts = Callable[[], Awaitable[dict[str, Any]]]


async def _nothing() -> dict[str, Any]:
    return {}


def bare_app() -> Starlette:
    """A route that reads the body and answers: what Starlette and uvicorn cost by themselves."""

    async def take(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/callbacks/{provider}/{token}", take, methods=["POST"])])


def bench_settings(folder: Path, jwks_url: str = "") -> Settings:
    """A receiver's settings with its data in ``folder``; fal's keys at ``jwks_url``, on loopback."""
    return Settings(
        data_dir=folder,
        signing_keys=(REPLY_KEY,),  # type: ignore[arg-type] # pydantic makes secrets of them
        allowed_networks=("127.0.0.0/8",),
        providers={"fal": {"user_ids": (FAL_USER,), **({"jwks_url": jwks_url} if jwks_url else {})}},
    )


def _application(case: str, folder: Path, jwks_url: str) -> tuple[Any, Counts]:
    if case == "bare":
        return bare_app(), _nothing
    if case == "handwritten":
        from replyhook_receiver.bench.handwritten import create_handwritten

        app = create_handwritten(folder / "handwritten.db", REPLY_KEY)

        async def stored() -> dict[str, Any]:
            return {"stored": await app.state.stored()}

        return app, stored
    settings = bench_settings(folder, jwks_url)
    secrets = secrets_for(settings)  # before the database is a shared one, for which nobody makes up keys
    if case == "shared":
        settings = settings.model_copy(update={"database_url": SecretStr(os.environ[DATABASE])})
    # Without the worker: what is measured is the way to the disk, not the downloads that follow.
    receiver = create_app(settings, secrets=secrets, with_worker=False)
    store: SQLStore = receiver.state.store

    async def counts() -> dict[str, Any]:
        return asdict(await store.counts())

    return receiver, counts


async def _serve(case: str, folder: Path, jwks_url: str) -> None:
    app, counts = _application(case, folder, jwks_url)
    bound = free_socket()
    plain = uvicorn.Config(app, access_log=False, log_config=None) if case in ("bare", "handwritten") else None
    async with served(app, bound, config=plain):
        if plain is None:
            keep_garbage_collection_rare()
        _say({"port": bound.getsockname()[1]})
        while await asyncio.to_thread(sys.stdin.readline):
            _say({"cpu_seconds": time.process_time(), **await counts()})


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")
    sys.stdout.flush()


def main(case: str, folder: str, core: str, jwks_url: str = "") -> None:
    """Serve one case until standard input ends."""
    if core != "any":
        os.sched_setaffinity(0, {int(core)})
    configure_logging("error")
    uvloop.run(_serve(case, Path(folder), jwks_url))
