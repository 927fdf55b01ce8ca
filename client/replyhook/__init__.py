"""replyhook: submit a video-extend job to any provider, be called back once, never poll, never lose a video."""

from replyhook.async_client import AsyncClient, AsyncJobHandle
from replyhook.client import Client, JobHandle
from replyhook.errors import (
    ConfigurationError,
    InvalidRequest,
    JobFailed,
    NoProviderLeft,
    ProviderUnavailable,
    ReceiverError,
    ReplyhookError,
    SubmissionRefused,
    SubmitOutcomeUnknown,
    VerificationError,
    WaitTimeout,
)
from replyhook.jobs import VideoSource
from replyhook.notifications import Notification, verify_notification
from replyhook.offers import providers

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "ConfigurationError",
    "InvalidRequest",
    "JobFailed",
    "JobHandle",
    "NoProviderLeft",
    "Notification",
    "ProviderUnavailable",
    "ReceiverError",
    "ReplyhookError",
    "SubmissionRefused",
    "SubmitOutcomeUnknown",
    "VerificationError",
    "VideoSource",
    "WaitTimeout",
    "providers",
    "verify_notification",
]
