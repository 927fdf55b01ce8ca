"""A notification in words for people: a subject on one line, facts, a link to the video. Nothing in it is trusted."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from replyhook.errors import UnreadableMessage
from replyhook.messages import as_object, read_json
from replyhook.urls import http_parts
from replyhook_receiver.records import NotificationRecord

MAX_SUBJECT_LENGTH = 150
MAX_FACT_LENGTH = 500
_MAX_LINK_LENGTH = 2048
_SAID = {
    "job.queued": "Video queued",
    "job.running": "Video running",
    "job.succeeded": "Video made",
    "job.failed": "Video failed",
    "job.canceled": "Video canceled",
    "job.overdue": "Video overdue",
    "video.stored": "Video stored",
    "video.failed": "Video lost",
    "video.expiring": "Video link expires soon",
    "endpoint.test": "Test of a notification",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What people read. Every text is on one line, bounded, and holds no control characters; none of it is escaped."""

    id: str
    job_id: str
    subject: str
    facts: Sequence[tuple[str, str]] = field(repr=False)
    link: str | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """As plain text."""
        lines = [self.subject, "", *(f"{name}: {value}" for name, value in self.facts)]
        lines += ["", f"The video: {self.link}"] if self.link else []
        return "\n".join([*lines, "", f"Notification {self.id}"])

    def html(self, poster: str | None = None) -> str:
        """As HTML; ``poster`` is an image's address."""
        rows = "".join(f"<tr><th align=left>{html.escape(n)}</th><td>{html.escape(v)}</td></tr>" for n, v in self.facts)
        image = f'<img src="{html.escape(poster)}" alt="a frame of the video" width="480">' if poster else ""
        link = f'<p><a href="{html.escape(self.link)}">{image or "The video"}</a></p>' if self.link else image
        return (
            f'<!doctype html><html><head><meta charset="utf-8"></head><body><h2>{html.escape(self.subject)}</h2>'
            f"{link}<table cellpadding=4>{rows}</table><p><small>Notification {html.escape(self.id)}</small></p>"
            "</body></html>"
        )


def read_message(notification: NotificationRecord) -> Message:
    """The notification in words."""
    content = _object(notification.body)
    about, video = _part(content, "data"), _part(_part(content, "data"), "video")
    error = _part(about, "error")
    kind = one_line(content.get("type"), 60)
    what = _SAID.get(kind, kind or "Notification")
    whose = one_line(about.get("reference"), 80) or one_line(about.get("id"), 80)
    facts = [
        ("Job", about.get("id")),
        ("Reference", about.get("reference")),
        ("User", about.get("user")),
        ("Provider", about.get("provider")),
        ("Status", about.get("status")),
        ("Progress", None if about.get("progress") is None else f"{about['progress']} %"),
        ("Error", error.get("message")),
        ("Overdue because", about.get("overdue_reason")),
        ("Video's problem", video.get("problem")),
        ("Duration", None if video.get("duration") is None else f"{video['duration']} s"),
        ("Bytes", video.get("bytes")),
        ("SHA-256", video.get("sha256")),
        ("Time", content.get("timestamp")),
    ]
    return Message(
        id=notification.id,
        job_id=notification.job_id,
        subject=one_line(f"{what}: {whose}" if whose else what, MAX_SUBJECT_LENGTH),
        facts=[(name, one_line(value, MAX_FACT_LENGTH)) for name, value in facts if one_line(value, MAX_FACT_LENGTH)],
        link=_link(video.get("url")),
    )


def one_line(value: object, length: int) -> str:
    """Anything as a text of at most ``length`` characters on one line, without control and formatting characters."""
    text = "" if value is None else str(value)[: length * 4]
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _link(value: object) -> str | None:
    is_link = isinstance(value, str) and len(value) <= _MAX_LINK_LENGTH and value.isprintable()
    return value if is_link and isinstance(value, str) and http_parts(value) is not None else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        return as_object(read_json(body))
    except UnreadableMessage:
        return {}


def _part(content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    return part if isinstance(part, dict) else {}
