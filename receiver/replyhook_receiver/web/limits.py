"""Token buckets: how often a key may ask, and how often an address may fail before it hears 429 instead of 401."""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MAX_ADDRESSES = 16_384
_WINDOW_SECONDS = 60.0
_EVERYBODY_ELSE = ""
_LONGEST_ADDRESS = 64


class Buckets:
    """A token bucket for each name: ``per_minute`` at once, refilled within a minute; 0 switches it off.

    They are in memory, each process its own. At most ``MAX_ADDRESSES`` are kept; while that many are in use, names
    beyond them share one.
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._refill_seconds = _WINDOW_SECONDS / per_minute if per_minute else 0.0
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()  # the least recently counted first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str) -> float | None:
        """Take one: None while within the limit, otherwise the seconds to wait."""
        if not self._refill_seconds:
            return None
        now = self._clock()
        self._forget(now)
        if name not in self._full_at and len(self._full_at) >= MAX_ADDRESSES:
            name = _EVERYBODY_ELSE
        full_at = max(self._full_at.get(name, now), now) + self._refill_seconds
        excess = full_at - now - _WINDOW_SECONDS
        if excess > self._refill_seconds / 1000:  # a thousandth: sums of fractions are not exact
            return excess
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        return None

    def _forget(self, now: float) -> None:
        """Drop two buckets that are full again: one more than a call can add, and never a long sweep."""
        for _ in range(2):
            if not self._full_at or next(iter(self._full_at.values())) > now:
                return
            self._full_at.popitem(last=False)


class FailureLimiter(Buckets):
    """A bucket for each address. An IPv6 address counts as its /64, which is what one customer gets.

    That those beyond ``MAX_ADDRESSES`` share one is hard on nobody who has a valid token: those are never counted.
    """

    def count(self, address: str) -> float | None:
        """Note one failed verification: None while within the limit, otherwise the seconds to wait."""
        return self.take(_key(address))


def _key(address: str) -> str:
    try:
        read = ip_address(address)
    except ValueError:
        return address[:_LONGEST_ADDRESS]
    if not isinstance(read, IPv6Address):
        return str(read)
    return str(read.ipv4_mapped or f"{int(read) >> 64:x}/64")
