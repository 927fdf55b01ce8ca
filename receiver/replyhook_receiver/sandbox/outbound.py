"""The sandbox's only door to the outside: posts callbacks and fetches source videos."""

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import httpx

KEPT_ANSWER_BYTES = 500


class OutboundError(Exception):
    """A call to the outside brought no usable answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver answered to a callback: the status and the beginning of the text."""

    status: int
    text: str


@cache
def _certificates() -> ssl.SSLContext:
    """Whom TLS trusts: read once, since that takes longer than all else of a start."""
    return httpx.create_ssl_context(trust_env=False)


class Outbound:
    """Outgoing HTTP, open between ``async with`` and its end.

    Unlike a real provider it reaches private addresses, because that is where it is used.
    """

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        # No proxy from the environment: the receiver is usually on this machine.
        agent = {"user-agent": "replyhook-sandbox"}
        self._client = httpx.AsyncClient(trust_env=False, verify=_certificates(), headers=agent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._open, None
        await client.aclose()

    @property
    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("the sandbox is not running: its lifespan was not entered")
        return self._client

    async def post(self, url: str, *, headers: dict[str, str], body: bytes, timeout_seconds: float) -> Answer:
        """Post ``body``; the whole exchange takes at most ``timeout_seconds``. Raises ``OutboundError``."""
        try:
            with anyio.fail_after(timeout_seconds):
                request = self._open.build_request("POST", url, headers=headers, content=body, timeout=timeout_seconds)
                response = await self._open.send(request, stream=True)
                try:
                    text = b""
                    async for chunk in response.aiter_bytes(KEPT_ANSWER_BYTES):
                        text += chunk
                        if len(text) >= KEPT_ANSWER_BYTES:
                            break
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise OutboundError(f"no answer within {timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise OutboundError(f"{type(error).__name__}: {error}") from error
        return Answer(status=response.status_code, text=text[:KEPT_ANSWER_BYTES].decode(errors="replace"))

    async def fetch(self, url: str, target: Path, *, limit_bytes: int, timeout_seconds: float) -> None:
        """Store what ``url`` answers at ``target``. Raises ``OutboundError``."""
        try:
            with anyio.fail_after(timeout_seconds):
                async with (
                    self._open.stream("GET", url, follow_redirects=True, timeout=timeout_seconds) as response,
                    await anyio.open_file(target, "wb") as file,
                ):
                    if response.status_code != 200:
                        raise OutboundError(f"the address answered {response.status_code}")
                    received = 0
                    async for chunk in response.aiter_bytes():
                        received += len(chunk)
                        if received > limit_bytes:
                            raise OutboundError(f"the file is larger than {limit_bytes} bytes")
                        await file.write(chunk)
        except TimeoutError as error:
            raise OutboundError(f"not fetched within {timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise OutboundError(f"{type(error).__name__}: {error}") from error
