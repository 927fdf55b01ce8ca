"""What the receiver tells people and programs: the types, and the check to make in the user's own app."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from replyhook.errors import ConfigurationError, UnreadableMessage, VerificationError
from replyhook.messages import as_object, read_json
from replyhook.signatures import verify_standard_webhooks

SNAPSHOT = "job.snapshot"
"""What the stream calls a job as it is now, which it tells between what was announced and what will be."""

TEST = "endpoint.test"
"""What is sent when somebody tries an endpoint: about no job."""


class NotificationType(StrEnum):
    """Every type of notification."""

    JOB_QUEUED = "job.queued"
    JOB_RUNNING = "job.running"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_OVERDUE = "job.overdue"
    VIDEO_STORED = "video.stored"
    VIDEO_FAILED = "video.failed"
    VIDEO_EXPIRING = "video.expiring"
    ENDPOINT_DISABLED = "endpoint.disabled"

    @property
    def is_progress(self) -> bool:
        """Whether it only says that a job is on its way: sent to those who ask for it by name."""
        return self in (NotificationType.JOB_QUEUED, NotificationType.JOB_RUNNING)

    @property
    def is_end(self) -> bool:
        """Whether it tells an end of a job or of its video, after which progress is no news."""
        return self in _ENDS


_ENDS = frozenset(
    {
        NotificationType.JOB_SUCCEEDED,
        NotificationType.JOB_FAILED,
        NotificationType.JOB_CANCELED,
        NotificationType.VIDEO_STORED,
        NotificationType.VIDEO_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One verified notification.

    ``id`` is its ``webhook-id``, stable across repeats: keep it to notice them. In one that ``wait()`` returns it is
    the place in the stream.
    """

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any] = field(repr=False)


def verify_notification(
    headers: Mapping[str, str], body: bytes, secret: str | Sequence[str], *, now: datetime | None = None
) -> Notification:
    """Check that a notification came from your receiver and read it.

    ``headers`` and ``body`` are the request's, the body as raw bytes; ``secret`` is the endpoint's ``whsec_…``, or
    several while one is being rotated. ``now`` is the clock's when left out.
    Raises ``VerificationError`` when it is forged, changed, or older than 5 minutes (answer 401), ``UnreadableMessage``
    when a properly signed body is not a notification, ``ConfigurationError`` when the secret is none.
    """
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError("body must be the request's raw bytes: text has lost what the signature covers")
    if not secret:
        raise ConfigurationError("no secret: pass the endpoint's whsec_…")
    named = {name.lower(): value for name, value in headers.items()}
    message_id = named.get("webhook-id")
    verify_standard_webhooks(
        [secret] if isinstance(secret, str) else secret,
        message_id=message_id,
        timestamp=named.get("webhook-timestamp"),
        signature=named.get("webhook-signature"),
        body=bytes(body),
        now=now or datetime.now(UTC),
    )
    if message_id is None:
        raise VerificationError("webhook-id is missing or malformed")
    return read_notification(message_id, bytes(body))


def read_notification(message_id: str, body: bytes) -> Notification:
    """A notification from bytes that are trusted already. Raises ``UnreadableMessage``."""
    content = as_object(read_json(body))
    match content:
        case {"type": str(kind), "timestamp": str(text), "data": dict(values)}:
            try:
                timestamp = datetime.fromisoformat(text)
            except ValueError as error:
                raise UnreadableMessage("a notification's timestamp is not ISO 8601") from error
            if timestamp.tzinfo is None:
                raise UnreadableMessage("a notification's timestamp names no time zone")
            return Notification(id=message_id, type=kind, timestamp=timestamp, data=values)
        case _:
            raise UnreadableMessage("a notification has type, timestamp and data")
