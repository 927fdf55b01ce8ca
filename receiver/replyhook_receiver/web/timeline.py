"""One job's story as a list, oldest first: registered, submitted, called back, announced, worked on, told."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from replyhook.jobs import AssetStatus
from replyhook_receiver.records import SUBMIT_UNKNOWN, JobRecord, SubmissionOutcome
from replyhook_receiver.stores.history import DeliveryStory, JobStory, WorkRecord
from replyhook_receiver.web.shown_history import Shown, shown_target

Entry = dict[str, Any]
_ORDER = (
    "registered",
    "appeared",
    "submitting",
    "submission",
    "callback",
    "task",
    "stored",
    "notification",
    "delivery",
)
"""Of what has happened in the same millisecond, what leads to what."""


def timeline(story: JobStory, shown: Shown, now: datetime) -> list[Entry]:
    """The entries, each with ``at`` and ``kind``."""
    entries = [*_beginning(story), *_told(story, shown, now), *_done(story)]
    return sorted(entries, key=lambda entry: (entry["at"], _ORDER.index(entry["kind"])))


def _beginning(story: JobStory) -> Iterator[Entry]:
    job = story.job
    yield {
        "at": job.created_at,
        "kind": "registered" if job.registered else "appeared",
        "reference": job.reference,
        "user": job.user,
    }
    if story.submitting_at is not None:
        yield {"at": story.submitting_at, "kind": "submitting"}
    if job.submission is not None:
        at = job.submitted_at or job.finished_at or job.created_at
        yield {"at": at, "kind": "submission", "outcome": job.submission, "error": _submission_error(job)}


def _submission_error(job: JobRecord) -> str | None:
    if job.submission is SubmissionOutcome.ACCEPTED and (job.overdue_reason or "").startswith(SUBMIT_UNKNOWN):
        return "its outcome was unknown at first, and was settled later"
    is_refusal = job.error is not None and job.error.code == "submission_refused"
    return job.error.message if job.error is not None and is_refusal else None


def _told(story: JobStory, shown: Shown, now: datetime) -> Iterator[Entry]:
    for callback in story.callbacks:
        entry = shown.callback(callback, now)
        named = ("id", "source", "trust", "verdict", "bytes", "told")
        yield {"at": callback.received_at, "kind": "callback", **{name: entry[name] for name in named}}
    for announced in story.announced:
        yield {
            "at": announced.at,
            "kind": "notification",
            "id": announced.id,
            "type": announced.type,
            "status": announced.status,
            "progress": announced.progress,
        }


def _done(story: JobStory) -> Iterator[Entry]:
    for task in story.work:
        yield _task(task)
    asset = story.job.asset
    if asset.status is AssetStatus.STORED and asset.stored_at is not None:
        yield {
            "at": asset.stored_at,
            "kind": "stored",
            "bytes": asset.bytes,
            "sha256": asset.sha256,
            "content_type": asset.content_type,
            "duration": asset.duration_seconds,
        }
    for delivery in story.deliveries:
        yield _delivery(delivery)


def _task(task: WorkRecord) -> Entry:
    return {
        "at": task.finished_at or task.created_at,
        "kind": "task",
        "task": task.kind,
        "state": task.state,
        "attempts": task.attempts,
        "problem": task.problem,
        "created_at": task.created_at,
        "due_at": task.due_at if task.finished_at is None else None,
    }


def _delivery(delivery: DeliveryStory) -> Entry:
    return {
        "at": delivery.delivered_at or delivery.created_at,
        "kind": "delivery",
        "id": delivery.id,
        "notification_id": delivery.notification_id,
        "type": delivery.type,
        "channel": delivery.channel,
        "endpoint_id": delivery.endpoint_id,
        "endpoint_name": delivery.endpoint_name,
        "endpoint": shown_target(delivery.url),
        "endpoint_removed": delivery.is_endpoint_removed,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "counted": delivery.counted,
        "answer": delivery.answer,
        "problem": delivery.problem,
        "created_at": delivery.created_at,
        "delivered_at": delivery.delivered_at,
    }
