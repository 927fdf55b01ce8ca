"""replyhook: submit a video-extend job to any provider, be called back once, never poll, never lose a video."""

from replyhook.async_client import AsyncClient, AsyncJobHandle
from replyhook.client import Client, JobHandle
from replyhook.errors import (
    InvalidRequest,
    JobFailed,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    VerificationError,
    WaitTimeout,
)
from replyhook.jobs import VideoSource
from replyhook.notifications import Notification, verify_notification

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "InvalidRequest",
    "JobFailed",
    "JobHandle",
    "Notification",
    "ReplyhookError",
    "SubmissionRefused",
    "SubmitOutcomeUnknown",
    "VerificationError",
    "VideoSource",
    "WaitTimeout",
    "verify_notification",
]
