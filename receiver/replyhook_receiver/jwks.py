"""A provider's public keys from its JWKS, kept so that no callback whose key is known waits for a fetch."""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from replyhook.errors import KeysUnavailable, UnreadableMessage
from replyhook.messages import HTTPRequest, as_object
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.net import Door

_log = logging.getLogger(__name__)

FETCH_SECONDS = 3.0
MAX_KEYS = 32
_STALE_AFTER = timedelta(hours=12)  # fal: "Do not cache longer than 24 hours" (PROVIDERS §3.2)
_COOL_DOWN_SECONDS = 30.0
_COOL_DOWN_SECONDS_AFTER_FAILURE = 5.0


class KeySet:
    """One JWKS. ``now`` is the clock that keys grow old by; the cool-down follows ``monotonic``, which nobody sets.

    Keys are refetched in the background when they grow old and in the foreground when none of them matches, one fetch
    at a time, with a cool-down between fetches so that forged callbacks cannot make us hammer the provider. While a
    refetch fails, the old keys go on serving; of a key that is not among them nothing can be said then.
    """

    def __init__(
        self, url: str, *, door: Door, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._door = door
        self._now = now
        self._monotonic = monotonic
        self._keys: tuple[bytes, ...] = ()
        self._fetched_at: datetime | None = None
        self._tried_at: float | None = None
        self._failure: str | None = None
        self._fetching: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many keys are at hand."""
        return len(self._keys)

    @property
    def fetched_at(self) -> datetime | None:
        """When the keys at hand were fetched; None before the first were."""
        return self._fetched_at

    @property
    def failure(self) -> str | None:
        """Why the last fetch brought nothing; None where it did."""
        return self._failure

    def current(self) -> tuple[bytes, ...]:
        """The keys at hand, without waiting; starts a refetch behind the scenes when they have grown old."""
        if self._is_stale() and not self._is_cooling():
            self._start()
        return self._keys

    async def refetched(self) -> tuple[bytes, ...]:
        """The keys after a fetch, shared by all who wait; those at hand while it is too early for another.

        Raises ``KeysUnavailable`` when the fetch failed, now or within the cool-down: then an unknown key may well be
        the provider's new one, and not to know it is our own fault.
        """
        if self._fetching is not None or not self._is_cooling():
            await asyncio.wait({self._start()})
        if self._failure is not None:
            raise KeysUnavailable(f"the provider's public keys could not be fetched: {self._failure}")
        return self._keys

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _is_stale(self) -> bool:
        # A difference either way: a clock that was set back must not keep old keys for ever.
        return self._fetched_at is not None and abs(self._now() - self._fetched_at) > _STALE_AFTER

    def _is_cooling(self) -> bool:
        pause = _COOL_DOWN_SECONDS if self._failure is None else _COOL_DOWN_SECONDS_AFTER_FAILURE
        return self._tried_at is not None and self._monotonic() - self._tried_at < pause

    def _start(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name="replyhook-jwks")
            self._fetching.add_done_callback(lambda _: setattr(self, "_fetching", None))
        return self._fetching

    async def _fetch(self) -> None:
        try:
            request = HTTPRequest(method="GET", url=self._url, headers={"accept": "application/json"})
            response = await self._door.send(request, timeout_seconds=FETCH_SECONDS)
            if response.status != 200:
                raise UnreadableMessage(f"HTTP {response.status}")
            keys = read_jwks(response.json())
        except (ReceiverTrouble, UnreadableMessage) as error:
            self._failure = str(error)
            _log.warning("fetching a provider's public keys failed: %s", error)
        except Exception as error:
            self._failure = f"a fault of ours ({type(error).__name__})"
            _log.exception("fetching a provider's public keys failed by a fault of ours")
        except asyncio.CancelledError:
            self._failure = "the receiver is stopping"
            raise
        else:
            self._keys, self._fetched_at, self._failure = keys, self._now(), None
        finally:
            self._tried_at = self._monotonic()


def read_jwks(document: object) -> tuple[bytes, ...]:
    """The Ed25519 public keys in a JWKS. Raises ``UnreadableMessage`` when there is none.

    ``x`` comes without padding, which fal's own sample decoder stumbles over (PROVIDERS §3.2).
    """
    entries = as_object(document).get("keys")
    found = [key for key in map(_read_key, entries if isinstance(entries, list) else ()) if key is not None]
    if not found:
        raise UnreadableMessage("the key set holds no Ed25519 key")
    return tuple(found[:MAX_KEYS])


def _read_key(entry: object) -> bytes | None:
    match entry:
        case {"x": str(text), **rest} if rest.get("kty", "OKP") == "OKP" and rest.get("crv", "Ed25519") == "Ed25519":
            try:
                key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            except (binascii.Error, ValueError):
                return None
            return key if len(key) == 32 else None
        case _:
            return None
