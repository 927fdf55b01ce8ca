"""A provider's public keys, fetched once, by the door that the receiver fetches them by."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from replyhook.errors import UnreadableMessage
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook_receiver.jwks import FETCH_SECONDS, read_jwks
from replyhook_receiver.net import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The keys, and the time as whoever answered has it."""

    keys: tuple[bytes, ...]
    date: str | None


def fetch_keys(url: str, allowed_networks: Sequence[str]) -> Fetched:
    """Fetch them. Raises ``ReceiverTrouble``, ``UnreadableMessage``."""

    async def fetch() -> HTTPResponse:
        async with Door(allowed_networks=allowed_networks) as door:
            return await door.send(HTTPRequest(method="GET", url=url), timeout_seconds=FETCH_SECONDS)

    answer = asyncio.run(fetch())
    if answer.status != 200:
        raise UnreadableMessage(f"HTTP {answer.status}")
    return Fetched(keys=read_jwks(answer.json()), date=answer.headers.get("date"))
