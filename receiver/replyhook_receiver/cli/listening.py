"""What `replyhook listen` does: hear the stream, go on where it broke, hand each event on, say what came of it."""

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from replyhook.errors import ReceiverUnavailable, UnreadableMessage
from replyhook.messages import HTTPRequest, HTTPResponse, as_object, read_json
from replyhook.notifications import read_notification
from replyhook.receiver_api import LOOPBACK_HOSTS, ReceiverAPI
from replyhook.signatures import sign_standard_webhooks
from replyhook.transport import AsyncTransport
from replyhook.trouble import ConnectionTrouble
from replyhook.urls import http_parts
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.net import Door

_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
_FORWARD_SECONDS = 30.0
_KEPT_OF_ANSWER = 1024
_LOOPBACK = ("127.0.0.0/8", "::1/128")
_EVERYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One event. ``place`` is its id in the stream, ``body`` what a webhook endpoint would get."""

    place: str
    type: str
    timestamp: datetime
    data: dict[str, Any] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Where events are handed on to, and the secret that signs them."""

    url: str = field(repr=False)
    secret: str = field(repr=False)

    def door(self) -> Door:
        """The way there: to this machine only, unless another one was named on purpose; through no proxy."""
        parts = http_parts(self.url)
        local = parts is not None and parts.hostname in LOOPBACK_HOSTS
        return Door(allowed_networks=_LOOPBACK if local else _EVERYWHERE)

    def build(self, heard: Heard, *, now: datetime) -> HTTPRequest:
        """The signed post. Its ``webhook-id`` is the event's own: the same if it should be heard twice."""
        message_id = f"listen_{heard.place}"
        headers = {
            "content-type": "application/json",
            "user-agent": "replyhook-listen",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": sign_standard_webhooks(
                [self.secret], message_id=message_id, sent_at=now, body=heard.body
            ),
        }
        return HTTPRequest(method="POST", url=self.url, headers=headers, body=heard.body)


Show = Callable[[Heard, str | None], None]


@dataclass(kw_only=True)
class Listening:
    """One listener: ``show`` gets each event with what the local program answered, ``say`` everything else."""

    receiver: ReceiverAPI
    filters: Mapping[str, Sequence[str]]
    forward: Forward | None
    show: Show
    say: Callable[[str], None]
    _place: str | None = None
    _failures: int = 0
    _left: float = math.inf

    async def run(self, *, after: int | None = None, count: int | None = None) -> None:
        """Listen until ``count`` events came, or without end. Raises the typed error of a stream that is refused."""
        self._place = None if after is None else str(after)
        self._left = math.inf if count is None else count
        transport = AsyncTransport(timeout_seconds=30.0)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(transport.close)
            door = None if self.forward is None else await stack.enter_async_context(self.forward.door())
            while self._left > 0:
                try:
                    await self._hear(transport, door)
                except (ConnectionTrouble, ReceiverUnavailable) as error:
                    if self._failures == 0:
                        self.say(f"the receiver cannot be heard ({printable(str(error))}); trying again")
                if self._left > 0:
                    await asyncio.sleep(_PAUSES_SECONDS[min(self._failures, len(_PAUSES_SECONDS) - 1)])
                    self._failures += 1

    async def _hear(self, transport: AsyncTransport, door: Door | None) -> None:
        async with aclosing(transport.events(self._request(), seconds=math.inf)) as events:
            async for event in events:
                if isinstance(event, HTTPResponse):
                    self.receiver.raise_for_problem(event)
                    return
                await self._take(event.event, event.id, event.data, door)
                if self._left <= 0:
                    return

    def _request(self) -> HTTPRequest:
        chosen = [(name, value) for name, values in self.filters.items() for value in values]
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {self.receiver.api_key}"}
        if self._place is not None:
            headers["last-event-id"] = self._place
        query = urlencode([*chosen, ("place", "true")])
        return HTTPRequest(method="GET", url=f"{self.receiver.url.rstrip('/')}/v1/stream?{query}", headers=headers)

    async def _take(self, name: str, place: str, text: str, door: Door | None) -> None:
        if name == "stream.place":
            if self._failures or self._place is None:
                self.say("listening" if self._place is None else "listening again, from where it stopped")
            self._failures = 0
        elif name in ("reset", "stream.ended"):
            self.say(f"the stream says: {_detail(text)}")
        elif not text:
            return  # a comment, which httpx-sse tells of as an empty event once a place is known
        else:
            try:
                told = read_notification(place, text.encode())
            except UnreadableMessage:
                self.say(f"an event of the type {printable(name)[:64]} could not be read")
            else:
                heard = Heard(place=place, type=told.type, timestamp=told.timestamp, data=told.data, body=text.encode())
                self.show(heard, await self._forwarded(heard, door))
                self._left -= 1
        if place.isascii() and place.isdecimal():
            self._place = place

    async def _forwarded(self, heard: Heard, door: Door | None) -> str | None:
        if self.forward is None or door is None:
            return None
        request = self.forward.build(heard, now=datetime.now(UTC))
        try:
            answer = await door.send(request, timeout_seconds=_FORWARD_SECONDS, max_bytes=_KEPT_OF_ANSWER, cut=True)
        except ReceiverTrouble as error:
            return f"no answer: {printable(str(error))}"
        return str(answer.status)


def as_json(heard: Heard) -> str:
    """One line of JSON, in ASCII: whatever is in it, a terminal shows it as it is."""
    content = {"id": heard.place, "type": heard.type, "timestamp": heard.timestamp.isoformat(), "data": heard.data}
    return json.dumps(content, separators=(",", ":")).replace("\x7f", "\\u007f")


def as_line(heard: Heard) -> str:
    """One line of words."""
    data = heard.data
    parts = [f"{heard.timestamp:%H:%M:%S}", f"{heard.type:14}", data.get("id"), data.get("provider")]
    parts += [f"{data['progress']} %"] if data.get("progress") is not None else []
    parts += [f"ref={data['reference']}"] if data.get("reference") else []
    parts += [f"user={data['user']}"] if data.get("user") else []
    match data:
        case {"error": {"message": str(words)}} if words:
            parts.append(words[:200])
        case {"video": {"problem": str(words)}} if words:
            parts.append(words[:200])
        case {"overdue_reason": str(words)} if words:
            parts.append(words[:200])
    return "  ".join(printable(str(part)) for part in parts if part)


def printable(text: str) -> str:
    """``text`` with what would move a terminal's cursor, or turn its writing round, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _detail(text: str) -> str:
    try:
        return printable(str(as_object(read_json(text.encode())).get("detail")))[:300]
    except UnreadableMessage:
        return printable(text)[:300]
