"""The access log's lines about callbacks: what each was about and why it was refused, and nothing of what came."""

import logging

from replyhook.ids import new_id
from replyhook.tokens import ReplyToken
from replyhook_receiver import logs
from replyhook_receiver.records import Accepted
from replyhook_receiver.web.callback_answers import Refused, reason_why

TEMPLATE = "/callbacks/{provider}/{token}"
_log = logging.getLogger("replyhook.access")


def _about(token: ReplyToken | None, outcome: Accepted | Exception) -> dict[str, str]:
    """The fields of a line about a callback beyond those of any request."""
    about: dict[str, str | None] = {"request_id": new_id("req")}
    if token is not None:
        about |= {"provider": token.provider, "job_id": token.job_id}
    if isinstance(outcome, Accepted):
        about["job_id"] = outcome.job_id
    else:
        about["reason"] = reason_why(outcome) or "a fault of ours while taking a callback"
        if isinstance(outcome, Refused) and outcome.provider:
            about["provider"] = outcome.provider
    return {name: value for name, value in about.items() if value is not None}


def write_line(method: str, status: int, ms: float, token: ReplyToken | None, outcome: Accepted | Exception) -> None:
    """Write the line of one that was answered: at the usual level one that was taken has none."""
    level, fault = logging.DEBUG, None
    if isinstance(outcome, Exception):
        fault = outcome if reason_why(outcome) is None else None
        level = logging.ERROR if fault else logging.INFO
    if not _log.isEnabledFor(level):
        return
    about = _about(token, outcome)
    words = " ".join(about[name] for name in ("provider", "job_id", "reason") if name in about)
    fields = logs.fields(method=method, route=TEMPLATE, status=status, ms=round(ms, 1), **about)
    _log.log(level, "%s %s %d %.1f ms: %s", method, TEMPLATE, status, ms, words, exc_info=fault, extra=fields)
