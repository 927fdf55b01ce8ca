"""What useapi.net accepts in a PixVerse extend request, and how it says what is wrong with one.

https://useapi.net/docs/api-pixverse-v2/post-pixverse-videos-extend-v3 (read 2026-11). Signs nothing.
"""

from collections.abc import Mapping
from typing import Any

from replyhook_receiver.sandbox.job import Problem
from replyhook_receiver.sandbox.stage import Refusal

LONGEST_PROMPT = 2048
LONGEST_REPLY = 1024
MAX_SEED = 2_147_483_647
MAX_JOBS = 8

TEXTS = {
    # name: longest length; the ids' and the address' are not published; ours
    "email": 320,
    "prompt": LONGEST_PROMPT,
    "negative_prompt": LONGEST_PROMPT,
    "video_id": 400,
    "video_path": 400,
    "replyUrl": LONGEST_REPLY,
    "replyRef": LONGEST_REPLY,
}
CHOICES: dict[str, tuple[str | int, ...]] = {
    "duration": (5, 8),
    "quality": ("540p", "360p"),
    "motion_mode": ("normal", "fast"),
    "style": ("anime", "3d_animation", "clay"),
}
RANGES = {"seed": (1, MAX_SEED), "maxJobs": (1, MAX_JOBS), "template_id": (0, 2**63 - 1)}
NUMBERS = ("duration", *RANGES)
DEFAULTS: dict[str, Any] = {
    "negative_prompt": "",
    "duration": 5,
    "quality": "540p",
    "motion_mode": "normal",
    "style": "",
    "remove_watermark": True,
}

ACCOUNTS_PAGE = "https://useapi.net/docs/api-pixverse-v2/post-pixverse-accounts-email"

# Published texts, apart from those of 400 and 500, which are ours.
REFUSALS = {
    "400": (400, "Bad request."),
    "401": (401, "Unauthorized"),
    "412": (412, "All Credits have been used up. Please upgrade your membership or purchase credits."),
    "422": (422, "Your prompt has triggered our AI moderator, please re-enter your prompt"),
    "429": (429, "Reached the limit for concurrent generations."),
    "500": (500, "Internal server error."),
    "596": (
        596,
        "Your PixVerse account has pending error. "
        f"Please address this issue at {ACCOUNTS_PAGE} before making any new API calls.",
    ),
}
# That failures carry errCode is published in a sample, its values are not; ours.
ERROR_CODES = {
    Problem.UNREACHABLE_SOURCE: 400017,
    Problem.UNUSABLE_SOURCE: 400032,
    Problem.GENERATION: 500063,
    Problem.MODERATED: 500054,
}


def bad_request(text: str) -> Refusal:
    """400 in the published shape. The texts are not published; ours."""
    return Refusal(400, {"error": text})


def from_form(form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a form, where every value is a text, as they would stand in JSON."""
    fields: dict[str, Any] = dict(form)
    for name in NUMBERS:
        if form.get(name, "").isdecimal():
            fields[name] = int(form[name])
    if form.get("remove_watermark") in ("true", "false"):
        fields["remove_watermark"] = form["remove_watermark"] == "true"
    return fields


def check_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The accepted request with its defaults; what is not known is ignored. Raises a 400 that names the problem."""
    known = {*TEXTS, *CHOICES, *RANGES, "remove_watermark"}
    given = {name: value for name, value in fields.items() if name in known and value is not None}
    for name, value in given.items():
        _check_value(name, value)
    if not given.get("prompt"):
        raise bad_request("Parameter prompt is required.")
    if bool(given.get("video_id")) == bool(given.get("video_path")):
        raise bad_request("Exactly one of the parameters video_id and video_path is required.")
    return DEFAULTS | given


def _check_value(name: str, value: object) -> None:
    if name in TEXTS:
        if not isinstance(value, str):
            raise bad_request(f"Parameter {name} must be a string.")
        if len(value) > TEXTS[name]:
            raise bad_request(f"Parameter {name} is longer than {TEXTS[name]} characters.")
    elif isinstance(value, bool) != (name == "remove_watermark"):
        raise bad_request(f"Parameter {name} has a value of the wrong type.")
    elif name in CHOICES and value not in CHOICES[name]:
        raise bad_request(f"Parameter {name} must be one of: {', '.join(map(str, CHOICES[name]))}.")
    elif name in RANGES:
        low, high = RANGES[name]
        if not isinstance(value, int) or not low <= value <= high:
            raise bad_request(f"Parameter {name} must be a number from {low} to {high}.")
