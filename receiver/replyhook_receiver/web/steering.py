"""`/v1/jobs/{id}/retry`, `/v1/jobs/{id}/reconcile`: what an operator has done about a job before its time comes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.stores.steering import Steering
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.deeds import tell_deed
from replyhook_receiver.web.models import NothingModel, read_model
from replyhook_receiver.web.provider_models import AskedJob, RetriedJob

_MAX_BODY_BYTES = 1024


class SteeringApi:
    """What the routes stand on."""

    def __init__(self, *, steering: Steering, now: Callable[[], datetime]) -> None:
        self._steering = steering
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""
        table: list[tuple[str, Any]] = [("retry", self.retry), ("reconcile", self.reconcile)]
        return [
            Route(f"/v1/jobs/{{id}}/{word}", keys.guard(endpoint), methods=["POST"], max_body_size=_MAX_BODY_BYTES)
            for word, endpoint in table
        ]

    async def retry(self, request: Request) -> Response:
        """Put back what was given up for the job; the answer names it."""
        await read_model(request, NothingModel, empty=b"{}")
        job_id = request.path_params["id"]
        retried = list(await self._steering.retry(job_id, now=self._now()))
        tell_deed(request, detail=f"put back: {', '.join(word.replace('_', ' ') for word in retried)}")
        return answer(RetriedJob, {"id": job_id, "retried": retried}, status=202)

    async def reconcile(self, request: Request) -> Response:
        """Let the provider be asked about the job now."""
        await read_model(request, NothingModel, empty=b"{}")
        job_id = request.path_params["id"]
        await self._steering.ask_now(job_id, now=self._now())
        return answer(AskedJob, {"id": job_id, "asked": True}, status=202)
