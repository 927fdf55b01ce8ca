"""What a submit is made of, and the steps that it asks for: one request to be sent, or a pause."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from replyhook.jobs import ExtendRequest, VideoSource
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.providers import Provider


class Purpose(StrEnum):
    """Whom a request goes to, which decides what its failure means."""

    RECEIVER = "receiver"
    RELAY = "relay"
    UPLOAD = "upload"
    SUBMIT = "submit"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request; give back its answer.

    ``last_words`` is what to tell the receiver, if anything, when our own program is stopped meanwhile.
    """

    request: HTTPRequest
    purpose: Purpose
    last_words: HTTPRequest | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds; give back nothing of meaning. ``last_words`` are as ``Send``'s."""

    seconds: float
    last_words: HTTPRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Everything one submit is made of, checked already."""

    job_id: str
    provider: Provider
    request: ExtendRequest
    source: VideoSource
    reference: str | None
    user: str | None
    notify: Sequence[str | dict[str, Any]] = field(repr=False)
    reply_url: str | None = field(default=None, repr=False)
    """Where a detached client has minted it itself; else the receiver does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """How a submit went well; the ids are None where the receiver submits the job itself.

    ``reported`` is False when the receiver could not be told; the callback will tell it. ``warnings`` are the
    receiver's, of what will not work for the job.
    """

    provider_job_id: str | None = field(repr=False)
    reply_url: str | None = field(repr=False)
    reported: bool
    warnings: tuple[str, ...] = ()


Step = Send | Pause
Flow = Generator[Step, HTTPResponse | None, Submitted]
