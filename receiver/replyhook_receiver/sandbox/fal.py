"""fal.ai, ``fal-ai/pixverse/v6/extend`` through its queue. https://fal.ai/docs/documentation/model-apis (read 2026-11)

Signs callbacks: Ed25519, hex, over ``request id \\n user id \\n unix time \\n hex(sha256(body))``, checked with a JWKS.
"""

import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from replyhook_receiver.sandbox.bodies import UPLOAD_LIMIT_BYTES, UnreadableBody, read_fields, save_body
from replyhook_receiver.sandbox.callbacks import Delivery, Seal
from replyhook_receiver.sandbox.fal_fields import check_fields, invalid
from replyhook_receiver.sandbox.fal_refusals import ERRORS_PAGE, PROBLEMS, REFUSALS
from replyhook_receiver.sandbox.fal_webhooks import FalWebhooks
from replyhook_receiver.sandbox.faults import Fault, UnknownWish, read_wishes
from replyhook_receiver.sandbox.job import ACTIVE, Job, Order, State
from replyhook_receiver.sandbox.ledger import Call
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.responses import answered
from replyhook_receiver.sandbox.stage import Refusal, Shortage, Stage

APP = "/fal-ai/pixverse"
FETCH_TIMEOUT_SECONDS = 60.0
PAYLOAD_ERROR = (
    "Response payload is not JSON serializable. "
    "Either return a JSON serializable object or use the queue endpoint to retrieve the response."
)


class Fal:
    """The queue host at ``/fal`` and the REST host (key set, uploads) at ``/fal-rest``."""

    name = "fal"
    faults = frozenset(Fault)
    tells_progress = False
    # Published: 15 s, and 10 retries within 2 h. The shape of the back-off is not published; ours: doubling, then
    # ever longer, 7200 s in all.
    delivery = Delivery(ladder=(10, 20, 40, 80, 160, 320, 640, 1200, 1800, 2930), timeout_seconds=15.0)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._webhooks = FalWebhooks(user_id=stage.options.fal_user_id)
        self._issued_uploads: set[str] = set()
        # The queue itself answers no 429: what is too much waits in it (a secondary source says so).
        cap = stage.options.max_concurrent
        self._slot = None if cap is None else CapacityLimiter(cap)

    @staticmethod
    def settings(options: SandboxOptions) -> dict[str, str]:
        base = options.base_url.rstrip("/")
        return {
            "api_key": options.api_key,
            "base_url": f"{base}/fal",
            "rest_url": f"{base}/fal-rest",
            "jwks_url": f"{base}/fal-rest/.well-known/jwks.json",
            "media_hosts": options.host,
            "user_ids": options.fal_user_id,
        }

    def routes(self) -> list[BaseRoute]:
        queue: list[BaseRoute] = [
            Route(f"{APP}/v6/extend", self._submit, methods=["POST"]),
            Route(f"{APP}/requests/{{request_id}}/status", self._status, methods=["GET"]),
            Route(f"{APP}/requests/{{request_id}}", self._result, methods=["GET"]),
            Route(f"{APP}/requests/{{request_id}}/cancel", self._cancel, methods=["PUT"]),
        ]
        rest: list[BaseRoute] = [
            *self._webhooks.routes(),
            Route("/storage/upload/initiate", self._initiate_upload, methods=["POST"]),
            Route("/storage/put/{name}", self._put_upload, methods=["PUT"]),
        ]
        return [Mount("/fal", routes=queue), Mount("/fal-rest", routes=rest)]

    def admin_routes(self) -> list[BaseRoute]:
        """What the sandbox's own control panel can do to this provider."""
        return self._webhooks.admin_routes()

    # The voice

    def callback(self, job: Job) -> Seal | None:
        if job.reply_url is None:
            return None
        return self._webhooks.genuine(job.reply_url, job.id, self._report(job))

    def garbage(self, job: Job) -> Seal:
        return self._webhooks.garbage(job.reply_url or "", job.id)

    def forgeries(self, job: Job) -> Sequence[Seal]:
        return self._webhooks.forgeries(job.reply_url or "", job.id, self._report(job))

    def _report(self, job: Job) -> dict[str, Any]:
        report: dict[str, Any] = {"request_id": job.id, "gateway_request_id": job.id}
        if job.state is State.SUCCEEDED and job.fault is Fault.NO_RESULT:
            return report | {"status": "OK", "payload": None, "payload_error": PAYLOAD_ERROR}
        if job.state is State.SUCCEEDED:
            return report | {"status": "OK", "payload": self._output(job, is_fresh=False)}
        status, body, _ = self._failure(job)
        return report | {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": body}

    def _output(self, job: Job, *, is_fresh: bool) -> dict[str, Any]:
        return {
            "video": {
                "url": self._stage.media.link(self.name, job.result, job.fault, is_fresh=is_fresh),
                "content_type": "video/mp4",
                "file_name": "output.mp4",
                "file_size": self._stage.media.path(self.name, job.result).stat().st_size,
            }
        }

    @staticmethod
    def _failure(job: Job) -> tuple[int, dict[str, Any], str]:
        """A failed job's status, body and error type."""
        if job.state is State.CANCELED or job.problem is None:
            # The type is published; that a canceled request calls back at all is not; ours.
            kind = "client_cancelled"
            return 499, {"detail": "The request was cancelled by the client.", "error_type": kind}, kind
        status, where, kind = PROBLEMS[job.problem]
        error = {"loc": where, "msg": job.problem_text, "type": kind, "url": f"{ERRORS_PAGE}#{kind}"}
        return status, {"detail": [error]}, kind

    # The queue

    async def _submit(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.SUBMIT)
        self._authorize(request)
        try:
            fields = await read_fields(request)
            wishes = read_wishes(
                prompt=str(fields.get("prompt", "")),
                headers=request.headers,
                default=self._stage.options.default_fault(self.name),
                refusals=REFUSALS,
            )
        except UnreadableBody as error:
            raise invalid(["body"], str(error), "value_error.jsondecode") from error
        except UnknownWish as error:
            raise Refusal(400, {"detail": str(error)}) from error
        if wishes.refusal is not None:
            status, body = REFUSALS[wishes.refusal]
            raise Refusal(status, body, {"x-fal-error-type": body["error_type"]} if "error_type" in body else None)
        accepted = check_fields(fields)
        if self._stage.shortage(self.name) is Shortage.CREDITS:
            raise Refusal(*REFUSALS["403"])
        job_id = str(uuid.uuid4())
        job = Job(
            provider=self.name,
            id=job_id,
            fault=wishes.fault,
            fields=accepted,
            # Only the query counts: a webhook in the body is silently ignored (fal-ai/fal-js issue 135).
            reply_url=request.query_params.get("fal_webhook") or None,
            result=f"{job_id}_output.mp4",
            slot=self._slot,
            order=Order(
                seconds=accepted["duration"],
                height=int(accepted["resolution"].removesuffix("p")),
                audio=accepted["generate_audio_switch"],
                obtain=partial(self._fetch, accepted["video_url"]),
            ),
        )
        await self._stage.jobs.start(job, self)
        answer = {"request_id": job_id, "gateway_request_id": job_id, **self._addresses(job_id)}
        return answered(job.fault, JSONResponse(answer))

    async def _fetch(self, url: str, scratch: Path) -> Path:
        await self._stage.outbound.fetch(
            url, scratch, limit_bytes=UPLOAD_LIMIT_BYTES, timeout_seconds=FETCH_TIMEOUT_SECONDS
        )
        return scratch

    def _addresses(self, job_id: str) -> dict[str, str]:
        base = f"{self._stage.options.base_url.rstrip('/')}/fal{APP}/requests/{job_id}"
        return {"response_url": base, "status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}

    async def _status(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        job = self._job(request)
        answer: dict[str, Any] = {"request_id": job.id, **self._addresses(job.id)}
        if job.state is State.QUEUED:
            waiting = [other for other in self._stage.jobs.active(self.name) if other.state is State.QUEUED]
            return JSONResponse({"status": "IN_QUEUE", "queue_position": waiting.index(job), **answer}, 202)
        if job.state is State.RUNNING:
            return JSONResponse({"status": "IN_PROGRESS", "logs": None, **answer}, 202)
        # There is no FAILED: a failed job is COMPLETED with an error.
        answer |= {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": _seconds_taken(job)}}
        if job.state is not State.SUCCEEDED:
            status, _, kind = self._failure(job)
            answer |= {"error": f"Invalid status code: {status}", "error_type": kind}
        return JSONResponse(answer)

    async def _result(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        job = self._job(request)
        if job.state in ACTIVE:
            raise Refusal(400, {"detail": "Request is still in progress"})
        if job.state is not State.SUCCEEDED:
            status, body, kind = self._failure(job)
            raise Refusal(status, body, {"x-fal-error-type": kind})
        return JSONResponse(self._output(job, is_fresh=True))

    async def _cancel(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.CANCEL)
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["request_id"])
        if job is None:
            return JSONResponse({"status": "NOT_FOUND"}, 404)
        if not self._stage.jobs.cancel(job):
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    def _job(self, request: Request) -> Job:
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["request_id"])
        if job is None:
            raise Refusal(404, {"detail": "Request not found"})
        return job

    def _authorize(self, request: Request) -> None:
        given = request.headers.get("authorization")
        if given is None:
            raise Refusal(401, {"detail": "Authentication is required to access this application"})
        if given != f"Key {self._stage.options.api_key}":
            raise Refusal(*REFUSALS["401"])

    # Uploads

    async def _initiate_upload(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.UPLOAD)
        self._authorize(request)
        try:
            fields = await read_fields(request)
        except UnreadableBody as error:
            raise invalid(["body"], str(error), "value_error.jsondecode") from error
        for wanted in ("file_name", "content_type"):
            if not isinstance(fields.get(wanted), str):
                raise invalid(["body", wanted], "field required", "value_error.missing")
        suffix = Path(fields["file_name"]).suffix.lower()
        name = uuid.uuid4().hex + (suffix if suffix in (".mp4", ".mov", ".webm") else ".mp4")
        self._issued_uploads.add(name)
        base = self._stage.options.base_url.rstrip("/")
        return JSONResponse(
            {"upload_url": f"{base}/fal-rest/storage/put/{name}", "file_url": self._stage.media.url(self.name, name)}
        )

    async def _put_upload(self, request: Request) -> Response:
        # As with the real, signed upload address, knowing it is enough: no key is asked for.
        name = request.path_params["name"]
        if name not in self._issued_uploads:
            raise Refusal(403, {"detail": "The upload address is not valid"})
        await save_body(request, self._stage.media.path(self.name, name))
        self._issued_uploads.discard(name)
        return Response(status_code=200)


def _seconds_taken(job: Job) -> float:
    return (job.finished_at - job.created_at).total_seconds() if job.finished_at else 0.0
