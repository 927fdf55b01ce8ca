"""`--database FILE`: a command's question, answered by the receiver's own code in this process, from the file alone."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from replyhook.errors import ConfigurationError, ReceiverError
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.receiver_api import ReceiverAPI
from replyhook_receiver.cli.settings import config_file, environ_of_settings

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE = "replyhook.database"
_NOWHERE = "http://127.0.0.1"
_SCHEME = re.compile(r"\w+:/")  # a path keeps one slash of two


def sqlite_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """What ``--database`` names: a file, since what PostgreSQL holds is told by a receiver alone."""
    if value is not None and _SCHEME.match(str(value)):
        words = (
            "it is for SQLite files. What PostgreSQL holds, a receiver tells: leave --database out and set "
            "REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY"
        )
        raise click.BadParameter(words, ctx=ctx, param=param)
    return value


def _remember(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    ctx.meta[_FILE] = sqlite_file(ctx, param, value)


def _refuse(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            f"`{ctx.command_path}` needs a receiver that runs: what --database names is only read. Leave --database "
            "out and set REPLYHOOK_RECEIVER_URL and REPLYHOOK_API_KEY",
            ctx=ctx,
        )


def reads_database(command: Command) -> Command:
    """Let a command that only looks take ``--database``."""
    option = click.option(
        "--database",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="Read the receiver's database file instead of asking the receiver, which may be running or not.",
    )
    return option(command)


def refuse_database(group: click.Group) -> None:
    """Let the other commands of a group say why they do not take it."""
    for command in group.commands.values():
        if not any("--database" in param.opts for param in command.params):
            refusal = click.Option(["--database"], hidden=True, expose_value=False, is_eager=True, callback=_refuse)
            command.params.append(refusal)


def named_file() -> Path | None:
    """The file that the command which runs was given."""
    ctx = click.get_current_context(silent=True)
    return ctx.meta.get(_FILE) if ctx is not None else None


def answer_from(file: Path, request: HTTPRequest) -> HTTPResponse:
    """The answer to a request whose URL is a path. Raises what the same would over HTTP, ``ConfigurationError``."""
    if not file.is_file():
        raise ConfigurationError(f"there is no database {file}: `replyhook serve` makes it, in its data_dir")
    answer = asyncio.run(_answer(file, request))
    try:
        ReceiverAPI(url=_NOWHERE, api_key="none").raise_for_problem(answer)
    except ReceiverError as error:
        said = error.problem.get("detail", error)
        raise type(error)(f"{file}: {said}", status=error.status, problem=error.problem) from error
    return answer


async def _answer(file: Path, request: HTTPRequest) -> HTTPResponse:
    from replyhook_receiver.configuring import load
    from replyhook_receiver.web.reading import reading

    flags = {"data_dir": file.parent, "database_url": f"sqlite:///{file}", "storage_url": ""}
    settings = load(environ_of_settings(), toml_file=config_file(None), flags=flags)
    async with reading(settings) as api:
        headers = {**request.headers, "authorization": f"Bearer {api.api_key}"}
        return await api.answer(HTTPRequest(method=request.method, url=request.url, headers=headers, json=request.json))
