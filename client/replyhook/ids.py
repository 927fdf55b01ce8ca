"""Prefixed ids that sort by the time they were made: ``job_06d…``, ``cb_…``, ``evt_…``, ``dlv_…``."""

import os
import random
import re
import time
from functools import lru_cache

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as it counts
TIME_LENGTH = 10
_LENGTH = 26

_random = random.Random()  # noqa: S311 - an id is no secret; seeded by the system, and again in a forked child
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id(prefix: str, *, at: float | None = None) -> str:
    """A new id: ``prefix``, an underscore, 10 characters of milliseconds since 1970, 16 of randomness.

    ``at`` is the time in seconds since 1970; the clock's when left out.
    """
    milliseconds = int((time.time() if at is None else at) * 1000)
    return f"{prefix}_{_time_letters(milliseconds)}{_random.getrandbits(64):016x}"


@lru_cache(maxsize=16)
def _time_letters(milliseconds: int) -> str:
    return "".join(_ALPHABET[(milliseconds >> shift) & 31] for shift in range(5 * (TIME_LENGTH - 1), -1, -5))


def made_at_ms(ident: str) -> int:
    """When an id was made, in milliseconds since 1970."""
    letters = ident.partition("_")[2][:TIME_LENGTH]
    return sum(_ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(letters)))


def is_id(prefix: str, text: str) -> bool:
    """Whether ``text`` has the form that ``new_id(prefix)`` makes."""
    return _form(prefix).fullmatch(text) is not None


@lru_cache(maxsize=32)
def _form(prefix: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(prefix)}_[{_ALPHABET}]{{{_LENGTH}}}")
