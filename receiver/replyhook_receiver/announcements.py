"""What a notification says: one body for the webhook, the stream and every other channel."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from replyhook.notifications import SNAPSHOT, NotificationType
from replyhook.providers import Capabilities
from replyhook_receiver.costs import price_of
from replyhook_receiver.records import JobRecord
from replyhook_receiver.told import described, kept_form
from replyhook_receiver.video_links import VideoLinks

_MASK = "(personal)"
_UNKNOWN: Mapping[str, Capabilities] = {}
RELAYED = "relayed:"
"""What stands for the link of a video that came in the answer to the submit itself."""


class Announcer:
    """Builds notification bodies. ``personal`` names the providers whose job ids hold personal details.

    A stored video's link is one of ``links``, whose time counts from the moment of telling, so that a body told at one
    moment is always the same; without them it is the address that wants a key. ``capabilities`` know what jobs cost, by
    provider.
    """

    def __init__(
        self,
        *,
        public_url: str,
        personal: frozenset[str],
        links: VideoLinks | None = None,
        capabilities: Mapping[str, Capabilities] = _UNKNOWN,
    ) -> None:
        self._public_url = public_url
        self._personal = personal
        self._links = links
        self._capabilities = capabilities

    def body(self, job: JobRecord, kind: NotificationType, now: datetime) -> bytes:
        """The body ``{type, timestamp, data}`` of a notification about ``job``, as it is kept (``told``)."""
        if kind is NotificationType.VIDEO_FAILED:
            return kept_form(kind, now, self._values(job, now), paid_for=self._paid_for(job))
        return kept_form(kind, now, self._values(job, now))

    def snapshot(self, job: JobRecord, now: datetime) -> bytes:
        """The body of what is no notification but tells how ``job`` is now."""
        return msgspec.json.encode({"type": SNAPSHOT, "timestamp": now, "data": self.describe(job, now)})

    def describe(self, job: JobRecord, now: datetime) -> dict[str, Any]:
        """A job as people and programs are told of it at this moment."""
        return described(self._values(job, now))

    def _values(self, job: JobRecord, now: datetime) -> tuple[Any, ...]:
        """In the order of ``told``. Enums as their words: encoding those costs more."""
        asset, error, trust = job.asset, job.error, job.trust
        return (
            job.id,
            job.reference,
            job.user,
            job.provider,
            self._shown_id(job),
            job.status._value_,
            job.progress,
            None if trust is None else trust._value_,
            job.created_at,
            job.submitted_at,
            job.called_back_at,
            job.finished_at,
            job.overdue_at,
            job.overdue_reason,
            None if error is None else error.code,
            None if error is None else error.message,
            asset.status._value_,
            self._url(job.id, now) if asset.stored_at else None,
            asset.bytes,
            asset.sha256,
            asset.content_type,
            asset.duration_seconds,
            asset.width,
            asset.height,
            asset.stored_at,
            None if asset.url and asset.url.startswith(RELAYED) else asset.url,
            asset.expires_at,
            asset.problem,
        )

    def _paid_for(self, job: JobRecord) -> dict[str, Any]:
        """What money went into a video that is lost: enough to ask the provider for it, or for the money back."""
        known = self._capabilities.get(job.provider)
        price = price_of(job, known) if known else None
        dollars = {"lowest": str(price.lowest), "highest": str(price.highest), "currency": "USD"} if price else None
        return {
            "provider": job.provider,
            "provider_job_id": self._shown_id(job),
            "price": dollars,
            "submitted_at": job.submitted_at,
        }

    def _shown_id(self, job: JobRecord) -> str | None:
        return _MASK if job.provider_job_id and job.provider in self._personal else job.provider_job_id

    def _url(self, job_id: str, now: datetime) -> str:
        return self._links.url(job_id, now) if self._links else f"{self._public_url}/v1/jobs/{job_id}/video"
