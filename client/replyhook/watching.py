"""When a job that is watched over the receiver's stream has come to its end: pure, fed one event at a time."""

import contextlib
from typing import Any, Literal, get_args

from replyhook.errors import InvalidRequest, JobFailed, UnreadableMessage
from replyhook.notifications import Notification, NotificationType, read_notification

Until = Literal["stored", "succeeded"]

_FAILURES = frozenset({NotificationType.JOB_FAILED, NotificationType.JOB_CANCELED, NotificationType.VIDEO_FAILED})
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def check_wait(timeout: float | None, until: str) -> None:
    """Raise ``InvalidRequest`` for a wait that cannot be meant."""
    if until not in get_args(Until):
        raise InvalidRequest("until", until, f"one of {', '.join(get_args(Until))}")
    if timeout is not None and not timeout >= 0:
        raise InvalidRequest("timeout", timeout, "seconds, 0 or more; None waits without end")


class Watch:
    """One wait for one job: remembers how far the stream was read, so that a reconnect misses nothing."""

    def __init__(self, job: Any, until: Until) -> None:
        self._job = job
        self._until = until
        self._failures = 0
        self.cursor = "0"
        self.trouble: str | None = None
        """Why the receiver cannot be heard at the moment, if it cannot."""
        self.overdue: str | None = None
        """Why the receiver has given up expecting a callback, if it has."""

    def timed_out(self) -> str:
        """What to say when the time for the wait is over."""
        why = f": it is overdue ({self.overdue})" if self.overdue else ""
        heard = f" (the receiver could not be heard: {self.trouble})" if self.trouble else ""
        return f"job {self._job.id} has not ended yet{why}{heard}; it can be waited for again"

    def take(self, cursor: str, text: str) -> Notification | None:
        """Read one stream event; the notification that ends the wait, or None. Raises ``JobFailed``."""
        self._failures, self.trouble = 0, None
        if cursor.isascii() and cursor.isdecimal():
            self.cursor = cursor
        with contextlib.suppress(UnreadableMessage):
            return self._judge(read_notification(cursor, text.encode()))
        return None

    def _judge(self, notification: Notification) -> Notification | None:
        if notification.type == NotificationType.JOB_OVERDUE:
            self.overdue = str(notification.data.get("overdue_reason") or "no callback came")
        if notification.type in _FAILURES:
            code, words = _why(notification)
            raise JobFailed(f"job {self._job.id}: {words}", job=self._job, code=code)
        ends = {NotificationType.VIDEO_STORED}
        if self._until == "succeeded":
            ends.add(NotificationType.JOB_SUCCEEDED)
        return notification if notification.type in ends else None

    def next_pause(self) -> float:
        """Seconds to wait before connecting again."""
        pause = _RECONNECT_SECONDS[min(self._failures, len(_RECONNECT_SECONDS) - 1)]
        self._failures += 1
        return pause


def _why(notification: Notification) -> tuple[str | None, str]:
    video = notification.data.get("video")
    if notification.type == NotificationType.VIDEO_FAILED and isinstance(video, dict) and video.get("problem"):
        return "video_failed", f"its video could not be stored: {video['problem']}"
    match notification.data.get("error"):
        case {"message": str(words), **rest} if words:
            code = rest.get("code")
        case {"code": code}:
            words = notification.type
        case other:
            code, words = None, str(other or notification.type)
    return (None if code is None else str(code)), words
