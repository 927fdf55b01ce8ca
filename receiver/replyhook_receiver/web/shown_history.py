"""How the history is shown over HTTP: without personal ids, without what is secret in links and headers."""

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from replyhook.jobs import JobError, JobEvent
from replyhook.urls import shown_url
from replyhook_receiver.announcements import RELAYED
from replyhook_receiver.stores.history import EventRecord, KeptCallback, ToldCallback
from replyhook_receiver.stores.replaying import Replayed, Standing
from replyhook_receiver.work.replaying import Reading

MASK = "(personal)"
HIDDEN = "(hidden)"
LONGEST_TEXT = 1_000
_SECRET_HEADER = re.compile(r"auth|cookie|sign|secret|token|pass|api-?key|credential|session|jwt", re.IGNORECASE)
# In one pass over words, since a stranger writes the body, and may write it so that a cleverer pattern takes for ever.
_WORD = re.compile(rb"""[^\s"'<>]+""")
_LINK = re.compile(rb"https?:\\?/\\?/", re.IGNORECASE)
_REPLY_TOKEN = re.compile(rb"""(callbacks\\?/\w{1,32}\\?/)[^\s"'<>?#]+""", re.IGNORECASE)
_AT = re.compile(rb"@|\\u0040|%40", re.IGNORECASE)


class Shown:
    """Shows callbacks and events. ``personal`` names the providers whose job ids hold personal details."""

    def __init__(self, personal: frozenset[str]) -> None:
        self._personal = personal

    def callback(self, callback: ToldCallback, now: datetime) -> dict[str, Any]:
        """A callback in a list."""
        return {
            "id": callback.id,
            "provider": callback.provider,
            "account": callback.account,
            "job_id": callback.job_id,
            "orphan": callback.job_id is None,
            "source": callback.source,
            "received_at": callback.received_at,
            "age_seconds": int((now - callback.received_at).total_seconds()),
            "trust": callback.trust,
            "verdict": callback.verdict,
            "bytes": callback.bytes,
            "told": self.told(callback.provider, callback.told),
        }

    def whole(self, kept: KeptCallback, now: datetime, *, raw: bool) -> dict[str, Any]:
        """A callback with all that came in it. The body is as it came where it is wanted ``raw``."""
        callback = kept.callback
        told = ToldCallback(
            id=callback.id,
            provider=callback.provider,
            account=kept.account,
            job_id=callback.job_id,
            source=callback.source,
            received_at=callback.received_at,
            trust=callback.trust,
            verdict=callback.verdict,
            bytes=len(callback.body) if callback.dropped_bytes is None else callback.dropped_bytes,
            told=kept.told,
        )
        body = callback.body if raw else self._harmless(kept)
        text, encoding = _text_or_base64(body)
        return self.callback(told, now) | {
            "headers": [[name, _shown_header(name, value)] for name, value in callback.headers],
            "body": text,
            "body_encoding": encoding,
            "body_masked": body != callback.body,
            "body_dropped": callback.dropped_bytes is not None,
        }

    def event(self, event: EventRecord) -> dict[str, Any]:
        """One fact."""
        return {
            "id": event.id,
            "provider": event.provider,
            "account": event.account,
            "job_id": event.job_id,
            "callback_id": event.callback_id,
            "source": event.source,
            "verdict": event.verdict,
            "created_at": event.created_at,
            "link_dead": event.link_dead,
            **(self.told(event.provider, event.told) or {}),
        }

    def told(self, provider: str, event: JobEvent | None) -> dict[str, Any] | None:
        """What was read in a callback."""
        if event is None:
            return None
        is_personal = provider in self._personal and event.provider_job_id is not None
        return {
            "status": event.status,
            "word": _cut(event.word),
            "progress": event.progress,
            "provider_job_id": MASK if is_personal else _cut(event.provider_job_id),
            "has_result": event.result is not None,
            "result_url": None if event.result is None else shown_link(event.result.url),
            "error": None if event.error is None else _error(event.error),
        }

    def replayed(self, provider: str, reading: Reading, replayed: Replayed, *, keeps: bool) -> dict[str, Any]:
        """What came of a replay, or would come of it."""
        return {
            "dry_run": not keeps,
            "callback_id": replayed.callback_id if keeps else None,
            "job_id": replayed.job_id,
            "read": {
                "kept": self.told(provider, reading.kept),
                "now": self.told(provider, reading.now),
                "changed": reading.now is not None and _facts(reading.now) != _facts(reading.kept),
                "problem": reading.problem,
            },
            "verdict": replayed.verdict,
            "before": _standing(replayed.before),
            "after": _standing(replayed.after),
            "tasks": replayed.tasks,
            "announced": replayed.announced,
            "deliveries": replayed.deliveries,
            "withheld_deliveries": replayed.withheld,
            "download": replayed.download,
            "notify": replayed.notify,
        }

    def _harmless(self, kept: KeptCallback) -> bytes:
        is_personal = kept.callback.provider in self._personal
        names = kept.told.provider_job_id.encode() if is_personal and kept.told and kept.told.provider_job_id else None

        def masked(found: re.Match[bytes]) -> bytes:
            word = _REPLY_TOKEN.sub(rb"\1" + HIDDEN.encode(), found[0])
            if is_personal and (word == names or _AT.search(word)):
                return MASK.encode()
            link = _LINK.search(word)
            end = (
                min((at for at in (word.find(mark, link.end()) for mark in b"?#") if at >= 0), default=-1)
                if link
                else -1
            )
            return word if end < 0 else word[:end] + b"?..." + (b"\\" if word.endswith(b"\\") else b"")

        return _WORD.sub(masked, kept.callback.body)


def shown_link(url: str) -> str | None:
    """A provider's link without its query; None for what only stands for one."""
    return None if url.startswith(RELAYED) else _cut(shown_url(url))


def shown_target(url: str) -> str:
    """Where a notification goes, as far as it is nobody's secret: of chat services the path is the password."""
    try:
        parts = urlsplit(url)
        where = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{where}/…" if where else f"{parts.scheme}:…"


def _shown_header(name: str, value: str) -> str:
    """A header's value; proxies tell the path in one, and in a path of ours is the token."""
    if _SECRET_HEADER.search(name):
        return HIDDEN
    return _REPLY_TOKEN.sub(rb"\1" + HIDDEN.encode(), value.encode()).decode()


def _error(error: JobError) -> dict[str, str | None]:
    return {"code": _cut(error.code), "message": _cut(error.message)}


def _cut(text: str | None) -> str | None:
    """A stranger's text, as much of it as anybody reads; all of it stands in the callback."""
    return text if text is None or len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _facts(event: JobEvent | None) -> Sequence[object]:
    """What is kept of an event, so what of two can be compared."""
    if event is None:
        return ()
    link = None if event.result is None else event.result.url
    return event.status, event.word, event.progress, event.provider_job_id, link, event.error


def _standing(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    return {"status": standing.status, "progress": standing.progress, "video": standing.video}


def _text_or_base64(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "text"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"
