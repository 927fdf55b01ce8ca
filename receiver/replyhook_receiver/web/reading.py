"""The API over a database file that is only read, in the process of whoever asks: no server, no worker, no socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from starlette.applications import Starlette
from starlette.types import Message

from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.config import Settings
from replyhook_receiver.own_secrets import Secrets, kept_secrets, made_key
from replyhook_receiver.web.app import app_of
from replyhook_receiver.web.parts import make_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A receiver's API over a file. ``api_key`` is its key, good for it alone."""

    api_key: str = field(repr=False)
    _app: Starlette = field(repr=False)

    async def answer(self, request: HTTPRequest) -> HTTPResponse:
        """What the API answers."""
        parts, sent = urlsplit(request.url), list[Message]()
        body = b"" if request.json is None else json.dumps(request.json).encode()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "client": None,
            "server": None,
            "headers": [(name.lower().encode(), value.encode()) for name, value in request.headers.items()],
        }
        await self._app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        chunks = [message.get("body", b"") for message in sent if message["type"] == "http.response.body"]
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return HTTPResponse(status=start["status"], headers=headers, body=b"".join(chunks))


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Reading]:
    """The API over the database of ``settings``, while the context lasts. Raises ``ConfigurationError``.

    Links to videos are told as the receiver tells them where its signing keys are known here, else as the address that
    wants a key.
    """
    kept = kept_secrets(settings)
    api_key = made_key("api_keys")
    secrets = Secrets(
        signing_keys=kept["signing_keys"] or (made_key("signing_keys"),),
        api_keys=(api_key,),
        notification_secrets=kept["notification_secrets"] or (made_key("notification_secrets"),),
    )
    parts = make_parts(settings, secrets, lambda: datetime.now(UTC))
    if not kept["signing_keys"]:
        capabilities = {name: provider.capabilities for name, provider in parts.providers.items()}
        announcer = Announcer(public_url=parts.public_url, personal=parts.personal, capabilities=capabilities)
        parts = replace(parts, announcer=announcer)
    app = app_of(parts, with_worker=False)
    await parts.store.open_to_read()
    app.state.life.is_running = True
    try:
        yield Reading(api_key=api_key, _app=app)
    finally:
        await parts.store.close()
