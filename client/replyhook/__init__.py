"""replyhook: submit a video-extend job to any provider, be called back once, never poll, never lose a video."""

from replyhook.async_client import AsyncClient
from replyhook.async_handle import AsyncJobHandle
from replyhook.client import Client
from replyhook.errors import (
    CancelNotPossible,
    ConfigurationError,
    InvalidRequest,
    JobFailed,
    JobNotFound,
    JobOverdue,
    NoProviderLeft,
    ProviderUnavailable,
    ReceiverError,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    VerificationError,
    VideoGone,
    VideoNotStored,
    WaitTimeout,
)
from replyhook.handle import JobHandle
from replyhook.jobs import VideoSource
from replyhook.notifications import Notification, verify_notification
from replyhook.offers import providers
from replyhook.results import JobPage, JobResult, VideoResult

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "CancelNotPossible",
    "Client",
    "ConfigurationError",
    "InvalidRequest",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "JobOverdue",
    "JobPage",
    "JobResult",
    "NoProviderLeft",
    "Notification",
    "ProviderUnavailable",
    "ReceiverError",
    "ReplyhookError",
    "SubmissionRefused",
    "SubmitOutcomeUnknown",
    "VerificationError",
    "VideoGone",
    "VideoNotStored",
    "VideoResult",
    "VideoSource",
    "WaitTimeout",
    "providers",
    "verify_notification",
]
