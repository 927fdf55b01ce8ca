"""What AIHubMax accepts for ``pixverse-v6-extend``, and how it says no.

https://docs.aihubmax.com/pages/en/api-manual/video-series/pixverse-v6/pixverse-v6-extend (read 2026-11). Signs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from replyhook_receiver.sandbox.job import Problem
from replyhook_receiver.sandbox.stage import Refusal

MODEL = "pixverse-v6-extend"
LONGEST_URL = 2048  # published for callback_url, ours for video_url
DEFAULTS: dict[str, Any] = {"model": MODEL, "duration": 5, "generate_audio": False, "resolution": "720p"}
REQUIRED = ("model", "prompt", "video_url")

# The types are published; that ``code`` repeats them and the texts are ours.
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found",
    422: "validation_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable",
}
REFUSALS = {
    "400": (400, "The request is invalid."),
    "401": (401, "The API key is invalid."),
    "402": (402, "The quota of this account is used up."),
    "422": (422, "The content was refused."),
    "429": (429, "Too many requests."),
    "500": (500, "Internal server error."),
    "503": (503, "The service is overloaded."),
}
# A failed task's codes are not published; ours.
PROBLEMS = {
    Problem.UNREACHABLE_SOURCE: "invalid_video_url",
    Problem.UNUSABLE_SOURCE: "invalid_video",
    Problem.GENERATION: "generation_failed",
    Problem.MODERATED: "content_policy_violation",
}


def refusal(status: int, text: str, code: str | None = None) -> Refusal:
    """No, in the published shape."""
    kind = TYPES[status]
    return Refusal(status, {"error": {"message": text, "type": kind, "code": code or kind}})


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The accepted request with its defaults; what is not known is ignored. Raises a refusal that names the field.

    What is missing is a 400 and what is wrong a 422; where the line runs is not published; ours.
    """
    for name in REQUIRED:
        if name not in fields:
            raise refusal(400, f"{name} is required")
    for name, check in CHECKS.items():
        # None as well: "omit this parameter unless needed" is taken at its word.
        if name in fields and not check(fields[name]):
            raise refusal(422, f"{name} has a value that is not allowed")
    if fields["model"] != MODEL:
        raise refusal(422, "no channel is available for this model", "model_not_found")
    return DEFAULTS | {name: fields[name] for name in CHECKS if name in fields}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_url(value: object) -> bool:
    # The real one takes https:// only for callbacks and refuses private addresses. The sandbox cannot: on loopback
    # there is nothing else.
    return isinstance(value, str) and len(value) <= LONGEST_URL and value.startswith(("http://", "https://"))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "model": _is_text,
    "prompt": _is_text,
    "video_url": _is_url,
    "duration": lambda value: _is_integer(value) and 1 <= value <= 15,
    "generate_audio": lambda value: isinstance(value, bool),
    "resolution": lambda value: value in ("360p", "540p", "720p", "1080p"),
    "negative_prompt": _is_text,
    "style": lambda value: value in ("anime", "3d_animation", "clay", "comic", "cyberpunk"),
    "seed": _is_integer,
    "callback_url": _is_url,
}
