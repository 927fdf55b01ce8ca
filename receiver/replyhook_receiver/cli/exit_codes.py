"""What the command line's exit codes mean, and which error has which."""

from replyhook.errors import (
    ConfigurationError,
    InvalidRequest,
    JobFailed,
    JobNotFound,
    JobOverdue,
    NoProviderLeft,
    ReceiverError,
    Unauthorized,
    VideoGone,
    VideoNotStored,
    WaitTimeout,
)

FAILURE = 1
USAGE = 2
JOB_FAILED = 3
NOT_CONFIGURED = 4
NOT_FOUND = 5
TIMED_OUT = 6
INTERRUPTED = 130


def exit_code_of(error: Exception) -> int:
    """The exit code of a command that ended with ``error``."""
    match error:
        case InvalidRequest():
            return USAGE
        case JobFailed() | VideoGone():
            return JOB_FAILED
        case ConfigurationError() | Unauthorized() | ReceiverError(status=401 | 403):
            return NOT_CONFIGURED
        case JobNotFound():
            return NOT_FOUND
        case WaitTimeout() | JobOverdue() | VideoNotStored():
            return TIMED_OUT
        case NoProviderLeft():
            codes = {exit_code_of(reason) for _, reason in error.reasons}
            return codes.pop() if len(codes) == 1 else FAILURE
        case _:
            return FAILURE
