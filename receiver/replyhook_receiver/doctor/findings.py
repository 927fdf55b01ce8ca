"""What an examination comes to: one finding a thing that was looked at."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, how it is, and what to do about it. Holds no secret."""

    check: str
    outcome: Outcome
    found: str
    todo: str | None = None


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check=check, outcome=Outcome.OK, found=found)


def warn(check: str, found: str, todo: str) -> Finding:
    """It works, or it cannot be told; somebody should look, and is told at what."""
    return Finding(check=check, outcome=Outcome.WARN, found=found, todo=todo)


def fail(check: str, found: str, todo: str) -> Finding:
    """Something does not work, or soon will not; ``todo`` mends it."""
    return Finding(check=check, outcome=Outcome.FAIL, found=found, todo=todo)
