"""Prefixed ids that sort by the time they were made: ``job_06d…``, ``cb_…``, ``evt_…``, ``dlv_…``."""

import os
import random
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as it counts
_TIME_BITS = 48
_RANDOM_BITS = 82
_LENGTH = (_TIME_BITS + _RANDOM_BITS) // 5
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(10 * (_LENGTH // 2 - 1), -1, -10)
_FORM = re.compile(rf"[{_ALPHABET}]{{{_LENGTH}}}")

_random = random.Random()  # noqa: S311 - an id is no secret; seeded by the system, and again in a forked child
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id(prefix: str, *, at: float | None = None) -> str:
    """A new id: ``prefix``, an underscore, 26 characters of milliseconds since 1970 and randomness.

    ``at`` is the time in seconds since 1970; the clock's when left out.
    """
    milliseconds = int((time.time() if at is None else at) * 1000)
    number = (milliseconds << _RANDOM_BITS) | _random.getrandbits(_RANDOM_BITS)
    return f"{prefix}_{''.join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])}"


def is_id(prefix: str, text: str) -> bool:
    """Whether ``text`` has the form that ``new_id(prefix)`` makes."""
    head, _, tail = text.partition("_")
    return head == prefix and _FORM.fullmatch(tail) is not None
