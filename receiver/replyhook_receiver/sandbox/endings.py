"""Which callbacks end a job, in which order and when: this is where most faults happen."""

from dataclasses import replace

from replyhook_receiver.sandbox.callbacks import Message
from replyhook_receiver.sandbox.faults import Fault
from replyhook_receiver.sandbox.job import Job, Problem, State, Voice

DUPLICATE_AFTER_SECONDS = 2.0
LATE_BY_SECONDS = 900.0  # beyond every provider's usual time


def last_words(job: Job, voice: Voice) -> list[Message]:
    """The callbacks that end a finished job, in order, with the job's fault in them."""
    genuine = voice.callback(job)
    if genuine is None:
        return []
    final = Message(kind="final", seal=genuine)
    match job.fault:
        case Fault.NEVER:
            return []
        case Fault.DUPLICATE:
            # A moment apart: a provider that signs each attempt signs again, with another time.
            return [final, Message(kind="duplicate", seal=genuine, wait_seconds=DUPLICATE_AFTER_SECONDS)]
        case Fault.REORDERED:
            return _reordered(job, voice, final)
        case Fault.LATE:
            return [replace(final, wait_seconds=LATE_BY_SECONDS)]
        case Fault.GARBAGE:
            return [Message(kind="garbage", seal=voice.garbage(job))]
        case Fault.FORGED:
            return [Message(kind="forged", seal=seal, is_retried=False) for seal in voice.forgeries(job)]
        case _:
            return [final]


def _reordered(job: Job, voice: Voice, final: Message) -> list[Message]:
    if voice.tells_progress:
        earlier = voice.callback(replace(job, state=State.RUNNING, progress=60))
        return [final, *([Message(kind="late progress", seal=earlier)] if earlier else [])]
    text = "The generation failed."
    failure = voice.callback(replace(job, state=State.FAILED, problem=Problem.GENERATION, problem_text=text))
    return [*([Message(kind="contradiction", seal=failure)] if failure else []), final]
