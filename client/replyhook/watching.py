"""When a job that is watched over the receiver's stream has come to its end: pure, fed one event at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, get_args

from replyhook.errors import InvalidRequest, JobFailed, JobOverdue, ReplyhookError, UnreadableMessage
from replyhook.notifications import SNAPSHOT, Notification, NotificationType, read_notification

Until = Literal["stored", "succeeded"]
OnTrouble = Callable[[str], None]
"""Is told why the receiver cannot be heard, once until it is heard again."""

_FAILURES = frozenset({NotificationType.JOB_FAILED, NotificationType.JOB_CANCELED, NotificationType.VIDEO_FAILED})
_RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def check_wait(timeout: float | None, until: str = "stored") -> None:
    """Raise ``InvalidRequest`` for a wait that cannot be meant."""
    if until not in get_args(Until):
        raise InvalidRequest("until", until, f"one of {', '.join(get_args(Until))}")
    if timeout is not None and not timeout >= 0:
        raise InvalidRequest("timeout", timeout, "seconds, 0 or more; None waits without end")


class Watch:
    """One wait for one job: remembers how far the stream was read, so that a reconnect misses nothing.

    What comes before the stream's snapshot is the past and ends nothing: a failure may have been overruled since. The
    snapshot is judged, and everything after it.
    """

    def __init__(
        self, job: Any, until: Until = "stored", *, past_overdue: bool = False, on_trouble: OnTrouble | None = None
    ) -> None:
        self._job = job
        self._on_trouble = on_trouble
        self._until = until
        self._past_overdue = past_overdue
        self._is_past = True
        self._failures = 0
        self._ended: Notification | ReplyhookError | None = None
        self._overdue: str | None = None
        self.cursor = "0"
        self.trouble: str | None = None
        """Why the receiver cannot be heard at the moment, if it cannot."""

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self._ended is not None

    def outcome(self) -> Notification:
        """The notification that ended the wait. Raises ``JobFailed`` or ``JobOverdue`` where that was its end."""
        if isinstance(self._ended, Notification):
            return self._ended
        raise self._ended or AssertionError("the wait has not ended")

    def timed_out(self) -> str:
        """What to say when the time for the wait is over."""
        why = f": it is overdue ({self._overdue})" if self._overdue else ""
        heard = f" (the receiver could not be heard: {self.trouble})" if self.trouble else ""
        return f"job {self._job.id} has not ended yet{why}{heard}; it can be waited for again"

    def connect(self) -> None:
        """The stream is opened anew: what comes first is the past again."""
        self._is_past = True

    def lose(self, why: str) -> None:
        """The stream was cut, or could not be opened: it is tried again."""
        if self.trouble is None and self._on_trouble is not None:
            self._on_trouble(why)
        self.trouble = why

    def take(self, name: str, cursor: str, text: str) -> Notification | None:
        """Read one stream event: the notification it is, or None. Afterwards the wait may have ended."""
        self._failures, self.trouble = 0, None
        if cursor.isascii() and cursor.isdecimal():
            self.cursor = cursor
        try:
            notification = read_notification(cursor, text.encode())
        except UnreadableMessage:
            return None
        if name == SNAPSHOT:
            self._is_past = False
            self._judge_present(notification)
            return None
        if not self._is_past:
            self._judge(notification)
        return notification

    def _judge_present(self, snapshot: Notification) -> None:
        self._overdue = None
        kind = _last_word(snapshot.data, self._until)
        if kind is not None:
            self._judge(replace(snapshot, id=self.cursor, type=kind))

    def _judge(self, notification: Notification) -> None:
        kind = notification.type
        if kind == NotificationType.JOB_OVERDUE:
            self._overdue = str(notification.data.get("overdue_reason") or "no callback came")
            if not self._past_overdue:
                words = f"job {self._job.id} is overdue: {self._overdue}; a late callback may still settle it"
                self._ended = JobOverdue(words, job=self._job, reason=self._overdue)
        elif kind in _FAILURES:
            code, words = _why(notification)
            self._ended = JobFailed(f"job {self._job.id}: {words}", job=self._job, code=code)
        elif kind == NotificationType.VIDEO_STORED or (
            kind == NotificationType.JOB_SUCCEEDED and self._until == "succeeded"
        ):
            self._ended = notification

    def next_pause(self) -> float:
        """Seconds to wait before connecting again."""
        pause = _RECONNECT_SECONDS[min(self._failures, len(_RECONNECT_SECONDS) - 1)]
        self._failures += 1
        return pause


def _last_word(job: dict[str, Any], until: Until) -> NotificationType | None:
    """The notification that says how a job stands, where one does."""
    video = job.get("video")
    match (job.get("status"), video.get("status") if isinstance(video, dict) else None):
        case ("succeeded", _) if until == "succeeded":
            return NotificationType.JOB_SUCCEEDED
        case (_, "stored"):
            return NotificationType.VIDEO_STORED
        case ("failed", _):
            return NotificationType.JOB_FAILED
        case ("canceled", _):
            return NotificationType.JOB_CANCELED
        case ("succeeded", "failed" | "expired"):
            return NotificationType.VIDEO_FAILED
        case ("succeeded", _):
            return NotificationType.JOB_SUCCEEDED
        case _:
            return NotificationType.JOB_OVERDUE if job.get("overdue_at") else None


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
