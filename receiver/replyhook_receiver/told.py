"""What a notification tells of a job, as it is kept: the values without their names, which come back when it is read.

The names are half of a body. What is kept is the whole of what was told, so the body that is read is, to the byte, the
one that would have been written.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from replyhook.notifications import NotificationType

_VERSION = 1
_OF_JOB = (
    "id", "reference", "user", "provider", "provider_job_id", "status", "progress", "trust", "created_at",
    "submitted_at", "called_back_at", "finished_at", "overdue_at", "overdue_reason",
)  # fmt: skip
_OF_VIDEO = (
    "status", "url", "bytes", "sha256", "content_type", "duration", "width", "height", "stored_at", "provider_url",
    "provider_url_expires_at", "problem",
)  # fmt: skip
_JOB_ENDS, _ERROR_ENDS = len(_OF_JOB), len(_OF_JOB) + 2
_VALUES = _ERROR_ENDS + len(_OF_VIDEO)
_pack = msgspec.msgpack.Encoder().encode


def described(values: Sequence[Any]) -> dict[str, Any]:
    """A job as it is told of, by names; ``values`` are those of the job, its error's code and words (None: there is
    no error), and those of its video."""
    code, message = values[_JOB_ENDS:_ERROR_ENDS]
    return {
        **dict(zip(_OF_JOB, values[:_JOB_ENDS], strict=True)),
        "error": None if message is None else {"code": code, "message": message},
        "video": dict(zip(_OF_VIDEO, values[_ERROR_ENDS:], strict=True)),
    }


def kept_form(kind: NotificationType, now: datetime, values: Sequence[Any], **more: Any) -> bytes:
    """A notification's body as it is kept; ``more`` is told of the job besides."""
    return _pack((_VERSION, kind._value_, now, *values, more) if more else (_VERSION, kind._value_, now, *values))


def whole_body(kept: bytes) -> bytes:
    """A notification's JSON body ``{type, timestamp, data}``, however it was kept."""
    if kept.startswith(b"{") or not kept:  # as JSON: what was kept before there was another form
        return kept
    _, kind, now, *rest = msgspec.msgpack.decode(kept)
    more = rest[_VALUES] if len(rest) > _VALUES else {}
    return msgspec.json.encode({"type": kind, "timestamp": now, "data": {**described(rest[:_VALUES]), **more}})
