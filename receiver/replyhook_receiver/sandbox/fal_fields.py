"""What fal.ai accepts as the input of ``fal-ai/pixverse/v6/extend``, and how it says what is wrong with one.

https://fal.ai/models/fal-ai/pixverse/v6/extend/api (read 2026-11). Signs nothing: see ``fal_webhooks``.
"""

from typing import Any

from replyhook_receiver.sandbox.stage import Refusal

DEFAULTS: dict[str, Any] = {
    "negative_prompt": "",
    "style": None,
    "resolution": "720p",
    "duration": 5,
    "seed": None,
    "generate_audio_switch": False,
}
STYLES = ("anime", "3d_animation", "clay", "comic", "cyberpunk")
RESOLUTIONS = ("360p", "540p", "720p", "1080p")
LONGEST_URL = 2048  # not published; ours


def invalid(where: list[str], text: str, kind: str) -> Refusal:
    """A refusal in the shape of the published webhook sample: 422 and a list with one typed error."""
    return Refusal(422, {"detail": [{"loc": where, "msg": text, "type": kind}]})


def check_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The accepted input with its defaults; what is not known is ignored. Raises a 422.

    Real requests may be accepted first and fail in the queue with the same detail; when is not published; ours.
    """
    for name in ("video_url", "prompt"):
        if name not in fields:
            raise invalid(["body", name], "field required", "value_error.missing")
    accepted = DEFAULTS | {name: fields[name] for name in ("video_url", "prompt", *DEFAULTS) if name in fields}
    for name in ("video_url", "prompt", "negative_prompt"):
        if not isinstance(accepted[name], str):
            raise invalid(["body", name], "str type expected", "type_error.str")
    _check_url(accepted["video_url"])
    _check_choice("resolution", accepted["resolution"], RESOLUTIONS)
    if accepted["style"] is not None:
        _check_choice("style", accepted["style"], STYLES)
    _check_duration(accepted["duration"])
    if accepted["seed"] is not None and not _is_integer(accepted["seed"]):
        raise invalid(["body", "seed"], "value is not a valid integer", "type_error.integer")
    if not isinstance(accepted["generate_audio_switch"], bool):
        where = ["body", "generate_audio_switch"]
        raise invalid(where, "value could not be parsed to a boolean", "type_error.bool")
    return accepted


def _check_url(url: str) -> None:
    if len(url) > LONGEST_URL or not url.startswith(("http://", "https://")):
        raise invalid(["body", "video_url"], "invalid or missing URL scheme", "value_error.url.scheme")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        permitted = ", ".join(repr(choice) for choice in choices)
        text = f"value is not a valid enumeration member; permitted: {permitted}"
        raise invalid(["body", name], text, "type_error.enum")


def _check_duration(value: object) -> None:
    where = ["body", "duration"]
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(where, "value is not a valid integer", "type_error.integer")
    if value < 1:
        raise invalid(where, "ensure this value is greater than or equal to 1", "value_error.number.not_ge")
    if value > 15:
        raise invalid(where, "ensure this value is less than or equal to 15", "value_error.number.not_le")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
