"""What Segmind accepts for ``pixverse-5-extend``, and how it says no.

https://www.segmind.com/models/pixverse-5-extend/api (read 2026-11). Signs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from replyhook_receiver.sandbox.job import Problem
from replyhook_receiver.sandbox.stage import Refusal

LONGEST_URL = 2048  # not published; ours
DURATIONS = (5, 8)

# The names are published and most numbers follow; 406 is not confirmed, and the texts and the body's shape are ours.
REFUSALS = {
    "400": (400, "Bad Request: invalid parameters or request format"),
    "401": (401, "Unauthorized: missing or invalid API key"),
    "403": (403, "Forbidden: insufficient permissions"),
    "404": (404, "Not Found: model or endpoint not found"),
    "406": (406, "Insufficient Credits: not enough credits to process request"),
    "429": (429, "Rate Limited: too many requests"),
    "500": (500, "Server Error: internal server error"),
    "502": (502, "Bad Gateway: service temporarily unavailable"),
    "504": (504, "Timeout: request timed out"),
}
# What a blocking call answers when the generation fails is not published; ours.
PROBLEMS = {
    Problem.UNREACHABLE_SOURCE: 400,
    Problem.UNUSABLE_SOURCE: 400,
    Problem.GENERATION: 500,
    Problem.MODERATED: 400,
}


def refusal(status: int, text: str) -> Refusal:
    """No."""
    return Refusal(status, {"error": text})


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The accepted request; what is not known or null is ignored. Raises a 400 that names the problem."""
    given = {name: value for name, value in fields.items() if name in CHECKS and value is not None}
    # The address is listed as optional, but without it there is nothing to extend.
    for name in ("duration", "motion_mode", "prompt", "quality", "video_url"):
        if name not in given:
            raise refusal(400, f"{name} is required")
    for name, value in given.items():
        if not CHECKS[name](value):
            raise refusal(400, f"{name} has a value that is not allowed")
    if given["duration"] != DURATIONS[0] and given["quality"] == "1080p":
        raise refusal(400, "duration must be 5 when quality is 1080p")
    if given["duration"] != DURATIONS[0] and given["motion_mode"] == "fast":
        raise refusal(400, "duration must be 5 when motion_mode is fast")
    if given["motion_mode"] == "fast" and given["quality"] == "1080p":
        raise refusal(400, "motion_mode fast is not available when quality is 1080p")
    if "style" in given:
        # "only for model=v3.5", which this endpoint is not and cannot be asked for. A real one may ignore it; ours.
        raise refusal(400, "style is only available for model v3.5")
    return given


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "video_url": lambda value: (
        isinstance(value, str) and len(value) <= LONGEST_URL and value.startswith(("http://", "https://"))
    ),
    "prompt": _is_text,
    "negative_prompt": lambda value: isinstance(value, str),
    "duration": lambda value: _is_integer(value) and value in DURATIONS,
    "motion_mode": lambda value: value in ("normal", "fast"),
    "quality": lambda value: value in ("360p", "540p", "720p", "1080p"),
    "seed": lambda value: _is_integer(value) and 1 <= value <= 999_999,
    "style": lambda value: value in ("anime", "3d_animation", "clay", "comic", "cyberpunk"),
}
