"""Whose callbacks fal's are believed to be, and the setting that lets another user in."""

import json
import shlex
from collections.abc import Sequence

from replyhook_receiver.doctor.findings import Finding, ok

VARIABLE = "REPLYHOOK_PROVIDERS__FAL__USER_IDS"
USERS = f"providers.fal.user_ids (or {VARIABLE})"
_CHECK = "fal user"
_WHO = "`replyhook verify --provider fal` tells whether a callback was signed for another user"


def users_finding(*, configured: int, learned: str) -> Finding:
    """Who is pinned: so many by the settings, or those that were learned, in words."""
    if configured:
        return ok(_CHECK, f"{configured} pinned by {USERS}; a callback signed for another is refused")
    if learned:
        return ok(
            _CHECK,
            f"pinned to {learned}, learned from the first callback. Another is let in by {USERS}: give "
            f"both, since what is set takes the place of what was learned. {_WHO}",
        )
    return ok(
        _CHECK, f"none pinned yet: the first callback to a job of ours is believed and pins its user, or set {USERS}"
    )


def setting_line(user_ids: Sequence[str]) -> str:
    """What lets these in, as a shell takes it; in the settings file where an id has a comma, as text is split there."""
    once = list(dict.fromkeys(user_ids))
    if any("," in each for each in once):
        return f"user_ids = {json.dumps(once)} (in the settings file, under [providers.fal])"
    return f"{VARIABLE}={shlex.quote(','.join(once))}"


def shortened(name: str) -> str:
    """Enough of it to be recognised by who knows it."""
    shown = name if len(name) <= 4 else f"{name[:3]}…{name[-2:]}"
    return shown if shown.isprintable() else "(unprintable)"
