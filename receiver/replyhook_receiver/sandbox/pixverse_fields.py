"""What the PixVerse Platform accepts in an extend request, and how it says no: an ErrCode on HTTP 200.

https://docs.platform.pixverse.ai (read 2026-11). Signs nothing: see ``pixverse_webhooks``.
"""

from collections.abc import Mapping
from typing import Any

from replyhook_receiver.sandbox.stage import Refusal

LONGEST_PROMPT = 2048
MAX_SEED = 2_147_483_647
QUALITIES = ("360p", "540p", "720p", "1080p")
STYLES = ("anime", "3d_animation", "clay", "comic", "cyberpunk")
DURATIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("v3.5", "v4", "v4.5", "v5"), (5, 8)),
    "v5.5": (5, 8, 10),
    "v6": tuple(range(1, 16)),  # published for its other endpoints; inferred for this one
}
# What is not listed is ignored.
INTEGERS = ("source_video_id", "video_media_id", "duration", "seed", "template_id")
TEXTS = ("prompt", "model", "quality", "motion_mode", "style", "negative_prompt", "webhook_id")
SWITCHES = ("water_mark", "generate_audio_switch")
REQUIRED = ("prompt", "model", "duration", "quality")

# Numbers as published; the texts, and 500090 for an empty balance, are not confirmed.
CODES = {
    "400011": "empty parameter",
    "400012": "invalid account",
    "400013": "invalid binding request: wrong type or value",
    "400017": "invalid parameter",
    "400018": "the prompt is longer than 2048 characters",
    "400019": "the negative prompt is longer than 2048 characters",
    "500008": "the requested data was not found",
    "500020": "no permission for this request",
    "500044": "the limit of concurrent generations is reached",
    "500054": "content moderation refused the request",
    "500060": "the monthly limit of this effect is reached",
    "500063": "input moderation refused the request",
    "500090": "the balance is not sufficient",
}
HTTP_REFUSALS = {"429": 429, "500": 500, "503": 503}  # by whatever stands before the application; bodies are ours
REFUSALS = (*CODES, *HTTP_REFUSALS)


def refusal(code: str, text: str | None = None, status: int = 200) -> Refusal:
    """No, in the published shape; what ``Resp`` is then is not published."""
    return Refusal(status, {"ErrCode": int(code), "ErrMsg": text or CODES[code], "Resp": None})


def refusal_asked_for(name: str) -> Refusal:
    """The refusal ``name``, which is an ErrCode or an HTTP status."""
    if name in HTTP_REFUSALS:
        return refusal(name, "the service is not available", HTTP_REFUSALS[name])
    return refusal(name)


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The accepted request; what is not known is ignored. Raises a refusal that names the field.

    The copies of the documentation disagree on what is required; this is the least that all of the newer ones ask for.
    """
    given = {name: value for name, value in fields.items() if name in (*INTEGERS, *TEXTS, *SWITCHES)}
    for name, value in given.items():
        kind = int if name in INTEGERS else str if name in TEXTS else bool
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise refusal("400013", f"{name} has a value of the wrong type")
    for name in REQUIRED:
        if not given.get(name):
            raise refusal("400011", f"{name} is empty")
    for name, code in (("prompt", "400018"), ("negative_prompt", "400019")):
        if len(given.get(name, "")) > LONGEST_PROMPT:
            raise refusal(code)
    if ("source_video_id" in given) == ("video_media_id" in given):
        raise refusal("400017", "exactly one of source_video_id and video_media_id is needed")
    _check_values({"motion_mode": "normal"} | given)
    return given


def _check_values(given: Mapping[str, Any]) -> None:
    durations = DURATIONS.get(given["model"], ())
    wrong = {
        "model": given["model"] not in DURATIONS,
        "quality": given["quality"] not in QUALITIES,
        "duration": bool(durations) and given["duration"] not in durations,
        "motion_mode": given["motion_mode"] not in ("normal", "fast"),
        "style": given.get("style", STYLES[0]) not in STYLES,
        "seed": not 0 <= given.get("seed", 0) <= MAX_SEED,
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise refusal("400017", f"{name} has a value that is not allowed")
    is_large, is_fast = given["quality"] == "1080p", given["motion_mode"] == "fast"
    # The limits of the older models; v6 takes any length in any quality elsewhere.
    if is_large and given["duration"] == 8 and given["model"] in ("v3.5", "v4", "v4.5", "v5"):
        raise refusal("400017", "duration 8 is not available in 1080p")
    if is_fast and (is_large or given["duration"] != 5):
        raise refusal("400017", "motion_mode fast takes 5 seconds, and not 1080p")
