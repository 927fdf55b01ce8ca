"""Prefixed ids that sort by the time they were made: ``job_06d…``, ``cb_…``, ``evt_…``, ``dlv_…``."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as it counts
_TIME_BITS = 48
_RANDOM_BITS = 82
_LENGTH = (_TIME_BITS + _RANDOM_BITS) // 5


def new_id(prefix: str, *, at: float | None = None) -> str:
    """A new id: ``prefix``, an underscore, 26 characters of milliseconds since 1970 and randomness.

    ``at`` is the time in seconds since 1970; the clock's when left out.
    """
    milliseconds = int((time.time() if at is None else at) * 1000)
    number = (milliseconds << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    letters = [_ALPHABET[(number >> shift) & 31] for shift in range(5 * (_LENGTH - 1), -1, -5)]
    return f"{prefix}_{''.join(letters)}"


def is_id(prefix: str, text: str) -> bool:
    """Whether ``text`` has the form that ``new_id(prefix)`` makes."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == _LENGTH and all(letter in _ALPHABET for letter in tail)
