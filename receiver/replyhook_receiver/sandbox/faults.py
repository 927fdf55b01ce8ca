"""What can be asked to go wrong, and how it is asked for: a marker in the prompt, a header, or the options' default."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

FAULT_HEADER = "x-sandbox-fault"
REFUSE_HEADER = "x-sandbox-refuse"
_MARKER = re.compile(r"\[\[(fault|refuse):([^\[\]]{0,40})\]\]")


class Fault(StrEnum):
    """One way for a job to go wrong; ``NONE`` is a job that goes right."""

    NONE = "none"
    DUPLICATE = "duplicate"  # the final callback comes twice
    EARLY = "early"  # the final callback comes before the answer to the submit call
    FORGED = "forged"  # only callbacks that prove nothing come
    GARBAGE = "garbage"  # a genuine callback with an unreadable body comes in place of the final one
    NEVER = "never"  # no callback comes
    FAILED = "failed"  # the generation fails


class UnknownWish(ValueError):
    """A fault or refusal that nobody knows was asked for; the message lists the known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What one submit call asked to go wrong: a fault of its job, or a refusal of the call itself."""

    fault: Fault
    refusal: str | None


def read_wishes(*, prompt: str, headers: Mapping[str, str], default: Fault, refusals: Collection[str]) -> Wishes:
    """The wishes in a submit call. A marker in the prompt outranks a header, which outranks ``default``."""
    asked = {"fault": headers.get(FAULT_HEADER), "refuse": headers.get(REFUSE_HEADER)}
    asked.update(_MARKER.findall(prompt))
    fault, refusal = asked["fault"], asked["refuse"]
    if fault is not None and fault not in set(Fault):
        raise UnknownWish(f"unknown fault {fault!r}; known are: {', '.join(Fault)}")
    if refusal is not None and refusal not in refusals:
        raise UnknownWish(f"unknown refusal {refusal!r}; known are: {', '.join(refusals)}")
    return Wishes(fault=default if fault is None else Fault(fault), refusal=refusal)
