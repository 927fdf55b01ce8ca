"""What every imitation stands on, and the refusals that it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from replyhook_receiver.sandbox.jobs import Jobs
from replyhook_receiver.sandbox.ledger import Call, Ledger
from replyhook_receiver.sandbox.media import Media
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.outbound import Outbound


class Shortage(StrEnum):
    """Why a provider cannot take one more job."""

    CREDITS = "credits"
    CONCURRENCY = "concurrency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The parts of the sandbox that all providers share."""

    options: SandboxOptions
    ledger: Ledger
    media: Media
    outbound: Outbound
    jobs: Jobs

    def shortage(self, provider: str) -> Shortage | None:
        """What ``provider`` lacks for one more job. One that is being made already holds its credit."""
        active, options = len(self.jobs.active(provider)), self.options
        if options.credits is not None and self.ledger.number(provider, Call.BILLED) + active >= options.credits:
            return Shortage.CREDITS
        if options.max_concurrent is not None and active >= options.max_concurrent:
            return Shortage.CONCURRENCY
        return None


class Refusal(Exception):
    """A provider says no: an HTTP status and a body in that provider's own shape."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """The answer to a call that ended in a ``Refusal``."""
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse(error.body, error.status, error.headers)
