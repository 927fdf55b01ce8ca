"""How fal.ai says no, and how it says that a generation failed. https://docs.fal.ai/errors (read 2026-11)

Signs nothing: see ``fal_webhooks``.
"""

from typing import Any

from replyhook_receiver.sandbox.job import Problem

ERRORS_PAGE = "https://docs.fal.ai/errors"

# Published: a flat object with a text for the platform's refusals, a list of typed errors for the model's. The
# texts of 401 and 403 are those that users quote; 402 and the text of 429 are not published; ours.
REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "400": (400, {"detail": "Bad request", "error_type": "bad_request"}),
    "401": (401, {"detail": "No user found for Key ID and Secret"}),
    "402": (402, {"detail": "Payment required"}),
    "403": (403, {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard."}),
    "422": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "prompt"],
                    "msg": "The content could not be processed because it was flagged by a content checker.",
                    "type": "content_policy_violation",
                    "url": f"{ERRORS_PAGE}#content_policy_violation",
                }
            ]
        },
    ),
    "429": (429, {"detail": "Too many requests"}),
    "500": (500, {"detail": "An unexpected internal error occurred", "error_type": "internal_error"}),
    "503": (503, {"detail": "No runner is available", "error_type": "runner_scheduling_failure"}),
    "504": (504, {"detail": "Request timed out", "error_type": "request_timeout"}),
}

# A reseller's failed generation: which of fal's types it has is not published; ours.
PROBLEMS = {
    Problem.UNREACHABLE_SOURCE: (422, ["body", "video_url"], "file_download_error"),
    Problem.UNUSABLE_SOURCE: (422, ["body", "video_url"], "invalid_video"),
    Problem.GENERATION: (422, ["body"], "generation_failed"),
    Problem.MODERATED: (422, ["body", "prompt"], "content_policy_violation"),
}
