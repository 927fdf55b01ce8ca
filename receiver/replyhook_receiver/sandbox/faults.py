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
    REORDERED = "reordered"  # progress comes after the end or, where none is told, a failure before the success
    EARLY = "early"  # the final callback comes before the answer to the submit call
    LATE = "late"  # the end is told a long time after it came
    FORGED = "forged"  # only callbacks that prove nothing come
    GARBAGE = "garbage"  # a genuine callback with an unreadable body comes in place of the final one
    NEVER = "never"  # no callback comes
    FAILED = "failed"  # the generation fails
    MODERATED = "moderated"  # the generation ends in the provider's moderation
    LOST_ANSWER = "lost_answer"  # the job is accepted and billed; the connection closes without an answer
    NO_RESULT = "no_result"  # success is told without the result, which a later question gets
    # What is wrong with the link that is told first; the link that a later question gets is good.
    EXPIRED_LINK = "expired_link"  # it answers 403
    TRUNCATED = "truncated"  # it answers the first half of the file as if that were all
    CUT_OFF = "cut_off"  # the connection closes after half of what was announced
    CUT_ANYWHERE = "cut_anywhere"  # the same at a random byte, also when the rest alone is asked for
    NO_RANGE = "no_range"  # cut off once in the middle; who asks for the rest gets everything, from the start
    SLOW = "slow"  # it answers a few KB a second
    HTML = "html"  # it answers 200 with a page
    FOREIGN_HOST = "foreign_host"  # every link names another host than the documented ones; the file is there


FAILING = frozenset({Fault.FAILED, Fault.MODERATED})
SPOILT_LINKS = frozenset(
    {
        Fault.EXPIRED_LINK,
        Fault.TRUNCATED,
        Fault.CUT_OFF,
        Fault.CUT_ANYWHERE,
        Fault.NO_RANGE,
        Fault.SLOW,
        Fault.HTML,
    }
)


class UnknownWish(ValueError):
    """A fault or refusal was asked for that nobody knows or that makes no sense here; the message lists the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What one submit call asked to go wrong: a fault of its job, or a refusal of the call itself."""

    fault: Fault
    refusal: str | None


def read_wishes(
    *,
    prompt: str,
    headers: Mapping[str, str],
    default: Fault,
    refusals: Collection[str],
    possible: Collection[Fault] = frozenset(Fault),
) -> Wishes:
    """The wishes in a submit call. A marker in the prompt outranks a header, which outranks ``default``.

    ``possible`` are the faults that make sense for the job: another one that is asked for is refused, another
    ``default`` is left out.
    """
    asked = {"fault": headers.get(FAULT_HEADER), "refuse": headers.get(REFUSE_HEADER)}
    asked.update(_MARKER.findall(prompt))
    fault, refusal = asked["fault"], asked["refuse"]
    if fault is not None and fault not in set(Fault):
        raise UnknownWish(f"unknown fault {fault!r}; known are: {', '.join(Fault)}")
    if fault is not None and fault not in possible:
        sensible = ", ".join(each for each in Fault if each in possible)
        raise UnknownWish(f"fault {fault!r} makes no sense for this job; possible are: {sensible}")
    if refusal is not None and refusal not in refusals:
        raise UnknownWish(f"unknown refusal {refusal!r}; known are: {', '.join(refusals)}")
    if fault is None:
        fault = default if default in possible else Fault.NONE
    return Wishes(fault=Fault(fault), refusal=refusal)


def has_mark(prompt: object, mark: str) -> bool:
    """Whether ``prompt`` holds ``[[mark]]``."""
    return f"[[{mark}]]" in str(prompt)
