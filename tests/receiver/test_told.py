"""Notifications are kept without the names of what they tell, and read as if they had been kept whole."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from replyhook.jobs import AssetStatus, JobError, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook.providers import PROVIDERS, make_provider
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.records import AssetRecord, JobRecord
from replyhook_receiver.told import whole_body

AT = datetime(2026, 11, 21, 15, 4, 5, 678901, tzinfo=UTC)
MS = AT.replace(microsecond=678000)
BARE = JobRecord(
    id="job_01", provider="useapi", account="default", registered=False, status=JobStatus.CREATED, created_at=MS
)
FAILED = replace(
    BARE, reference="o-1\u00e9\U0001f600", user="jane", status=JobStatus.FAILED, progress=7, trust=Trust.TOKEN_ONLY,
    provider_job_id="user:a@b.c-9", error=JobError(code=None, message="no"), called_back_at=MS, finished_at=MS,
    request={"prompt": "p", "duration": 5},
)  # fmt: skip
LATE = replace(
    BARE, status=JobStatus.RUNNING, submitted_at=MS, overdue_at=MS + timedelta(days=1), overdue_reason="silent"
)
STORED = replace(
    BARE, status=JobStatus.SUCCEEDED, progress=100, trust=Trust.SIGNED,
    asset=AssetRecord(
        status=AssetStatus.STORED, url="https://media.example.com/a?b=c&\"<", expires_at=MS, name="a.mp4", bytes=2**40,
        sha256="ab", content_type="video/mp4", duration_seconds=5.041, width=1, height=2, stored_at=MS,
    ),
)  # fmt: skip
RELAYED = replace(BARE, asset=AssetRecord(status=AssetStatus.FAILED, url="relayed:x", problem="too large"))


@pytest.mark.parametrize("job", [BARE, FAILED, LATE, STORED, RELAYED], ids=lambda job: job.status.value)
@pytest.mark.parametrize("kind", NotificationType)
def test_what_is_read_is_what_was_told_to_the_byte(job: JobRecord, kind: NotificationType) -> None:
    capabilities = {name: make_provider(name).capabilities for name in PROVIDERS}
    told = Announcer(public_url="https://x.example.com", personal=frozenset({"useapi"}), capabilities=capabilities)
    data = told.describe(job, AT)
    if kind is NotificationType.VIDEO_FAILED:
        data["paid_for"] = told._paid_for(job)
    kept = told.body(job, kind, AT)
    assert whole_body(kept) == msgspec.json.encode({"type": kind, "timestamp": AT, "data": data})
    assert len(kept) < len(whole_body(kept)) / 1.8


def test_what_was_kept_as_json_is_read_as_it_is() -> None:
    assert whole_body(b'{"type":"job.failed","data":{}}') == b'{"type":"job.failed","data":{}}'


def test_a_job_is_described_by_these_names() -> None:
    data = Announcer(public_url="https://x.example.com", personal=frozenset()).describe(FAILED, AT)
    assert (data["provider_job_id"], data["status"], data["trust"]) == ("user:a@b.c-9", "failed", "token_only")
    assert (data["error"], data["video"]["status"]) == ({"code": None, "message": "no"}, "none")
    assert list(data)[-2:] == ["error", "video"]
