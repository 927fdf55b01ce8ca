"""The callbacks that `replyhook trigger` can send: each a body as its provider sends it, or as its documents say."""

import json
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a callback is about. ``provider_job_id`` is None where only the receiver knows it."""

    job_id: str
    provider_job_id: str | None
    video: str


Body = Callable[[Subject], dict[str, Any]]


def _fal(status: str, **more: Any) -> Body:
    def body(subject: Subject) -> dict[str, Any]:
        told = {"request_id": subject.provider_job_id, "gateway_request_id": subject.provider_job_id, "status": status}
        if status == "OK" and not more:
            video = {"url": subject.video, "content_type": "video/mp4", "file_name": "output.mp4"}
            return told | {"payload": {"video": video}}
        return told | more

    return body


def _pixverse(status: int) -> Body:
    def body(subject: Subject) -> dict[str, Any]:
        is_done = status == 1
        url = subject.video if is_done else ""
        return {"id": subject.provider_job_id, "status": status, "url": url, "has_audio": is_done}

    return body


def _aihubmax(status: str, progress: int, error: Mapping[str, str] | None = None) -> Body:
    def body(subject: Subject) -> dict[str, Any]:
        return {
            "id": subject.provider_job_id,
            "object": "video.generation.task",
            "type": "video",
            "model": "pixverse-v6-extend",
            "status": status,
            "progress": progress,
            "results": [{"url": subject.video}] if status == "completed" else None,
            "error": error,
            "usage": {"credits_reserved": 3, "user_group": "default"},
        }

    return body


def _useapi(word: str, number: int, **more: Any) -> Body:
    def body(subject: Subject) -> dict[str, Any]:
        named = {"video_id": subject.provider_job_id} if subject.provider_job_id else {}
        told = {"video_status": number, "video_status_name": word, "replyRef": subject.job_id}
        return named | told | ({"url": subject.video} if word == "COMPLETED" else {}) | more

    return body


_FAL_DETAIL = {"detail": [{"loc": ["body", "video_url"], "msg": "the video could not be read", "type": "file_error"}]}
_FAILURE = {"code": "generation_failed", "message": "The upstream model could not extend this video", "type": "task"}

BODIES: dict[str, Body] = {
    "aihubmax.queued": _aihubmax("pending", 0),
    "aihubmax.running": _aihubmax("processing", 40),
    "aihubmax.succeeded": _aihubmax("completed", 100),
    "aihubmax.failed": _aihubmax("failed", 40, _FAILURE),
    "fal.running": _fal("IN_PROGRESS", payload=None),
    "fal.succeeded": _fal("OK"),
    "fal.failed": _fal("ERROR", error="Invalid status code: 422", payload=_FAL_DETAIL),
    "fal.no_result": _fal("OK", payload=None, payload_error="Response payload is not JSON serializable."),
    "pixverse.running": _pixverse(5),
    "pixverse.succeeded": _pixverse(1),
    "pixverse.failed": _pixverse(8),
    "pixverse.moderated": _pixverse(7),
    "useapi.queued": _useapi("QUEUED", 5),
    "useapi.running": _useapi("GENERATING", 10, progress=40),
    "useapi.succeeded": _useapi("COMPLETED", 1, video_status_final=True),
    "useapi.failed": _useapi("FAILED", 8, video_status_final=True, errCode=500043),
    "useapi.moderated": _useapi("MODERATED", 7, video_status_final=True),
}
# Segmind calls nobody back: its answer to the receiver's own submit is the callback, so the sandbox is asked for it.
RELAYED = {
    "segmind.succeeded": "a trigger",
    "segmind.failed": "a trigger [[fault:failed]]",
    "segmind.moderated": "a trigger [[fault:moderated]]",
}

NOTES = {
    "fal.running": "fal itself calls back at the end alone",
    "pixverse.running": "whether PixVerse calls back before the end is not published",
    "segmind.succeeded": "a whole job at the sandbox: Segmind calls nobody back",
    "segmind.failed": "the same, ending in a 500: nobody knows what became of it",
    "segmind.moderated": "the same, refused",
}
NAMES = sorted([*BODIES, *RELAYED])


def body_of(name: str, subject: Subject) -> bytes:
    """The body of the callback called ``name``."""
    return json.dumps(BODIES[name](subject), separators=(",", ":")).encode()


def made_up_id(provider: str) -> str:
    """An id such as the provider gives its jobs."""
    if provider == "fal":
        return str(uuid.uuid4())
    number = str(_random.randrange(10**14, 10**15))
    if provider == "pixverse":
        return number
    return f"task-unified-{number}" if provider == "aihubmax" else f"user:1-pixverse:trigger@example.com-video:{number}"
