"""Segmind, ``pixverse-5-extend``. https://docs.segmind.com (read 2026-11); that its v2 serves this model is inferred.

Calls nobody back and signs nothing: v1 answers when the video is made, v2 is asked.
"""

import base64
import binascii
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from replyhook_receiver.sandbox.bodies import UPLOAD_LIMIT_BYTES, UnreadableBody, read_fields
from replyhook_receiver.sandbox.callbacks import Delivery, Seal
from replyhook_receiver.sandbox.endings import LATE_BY_SECONDS
from replyhook_receiver.sandbox.faults import Fault, UnknownWish, has_mark, read_wishes
from replyhook_receiver.sandbox.job import Job, Order, State
from replyhook_receiver.sandbox.ledger import Call
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.responses import VIDEO, answered, unless_hung_up, video_answer
from replyhook_receiver.sandbox.segmind_fields import PROBLEMS, REFUSALS, check_fields, refusal
from replyhook_receiver.sandbox.stage import Shortage, Stage

SLUG = "pixverse-5-extend"
FETCH_TIMEOUT_SECONDS = 60.0
RESULT_LIFE_SECONDS = 3600.0
GARBAGE = b'{"video": {"url": "http\xff'
JSON_MARK = "json"
SHORTAGES = {Shortage.CREDITS: "406", Shortage.CONCURRENCY: "429"}
STATUSES = {
    State.QUEUED: "QUEUED",
    State.RUNNING: "PROCESSING",
    State.SUCCEEDED: "COMPLETED",
    State.FAILED: "FAILED",
    State.CANCELED: "FAILED",
}
CALLBACK_FAULTS = frozenset({Fault.DUPLICATE, Fault.REORDERED, Fault.EARLY, Fault.FORGED})
LINK_FAULTS = frozenset({Fault.EXPIRED_LINK, Fault.FOREIGN_HOST})


class Segmind:
    """The blocking and the asynchronous API at ``/segmind``, and its storage."""

    name = "segmind"
    faults = frozenset(Fault) - CALLBACK_FAULTS
    tells_progress = False
    delivery = Delivery(ladder=(), timeout_seconds=1.0)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @staticmethod
    def settings(options: SandboxOptions) -> dict[str, str]:
        base = f"{options.base_url.rstrip('/')}/segmind"
        return {
            "api_key": options.api_key,
            "base_url": base,
            "assets_url": base,
            "media_hosts": options.host,
        }

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(
                "/segmind",
                routes=[
                    Route(f"/v1/{SLUG}", self._block, methods=["POST"]),
                    Route(f"/v2/{SLUG}", self._submit, methods=["POST"]),
                    Route("/v2/requests/{request_id}/status", self._status, methods=["GET"]),
                    Route("/v2/requests/{request_id}", self._result, methods=["GET"]),
                    Route("/upload-asset", self._upload, methods=["POST"]),
                ],
            )
        ]

    def admin_routes(self) -> list[BaseRoute]:
        return []

    # The voice, which is silent

    def callback(self, _job: Job) -> Seal | None:
        return None

    def garbage(self, _job: Job) -> NoReturn:
        raise NotImplementedError("Segmind calls nobody back")

    def forgeries(self, _job: Job) -> Sequence[Seal]:
        return []

    # The blocking call

    async def _block(self, request: Request) -> Response:
        job = await self._start(request, is_blocking=True)
        await unless_hung_up(request.receive, job.finished.wait)
        if not job.finished.is_set():
            return Response()  # to nobody; the job goes on and is billed
        if job.state is not State.SUCCEEDED:
            raise refusal(PROBLEMS[job.problem] if job.problem else 500, job.problem_text or "The job was stopped.")
        return answered(job.fault, await self._answer(job))

    async def _answer(self, job: Job) -> Response:
        if job.fault is Fault.GARBAGE:
            return Response(GARBAGE, media_type="application/json")
        if self._wants_json(job.fields["prompt"]):
            return JSONResponse(self._output(job, is_fresh=False))
        if job.fault is Fault.NO_RESULT:
            return Response(b"", media_type=VIDEO)
        path = self._stage.media.path(self.name, job.result)
        return await video_answer(path, job.fault, slow_bytes_per_second=self._stage.options.slow_bytes_per_second)

    def _output(self, job: Job, *, is_fresh: bool) -> dict[str, Any]:
        """A result as JSON. Its shape is not published; ours, after fal's, whose model is the same."""
        if job.fault is Fault.NO_RESULT and not is_fresh:
            return {"video": None}
        return {"video": {"url": self._stage.media.link(self.name, job.result, job.fault, is_fresh=is_fresh)}}

    def _wants_json(self, prompt: object) -> bool:
        return self._stage.options.segmind_json or has_mark(prompt, JSON_MARK)

    # The asynchronous calls

    async def _submit(self, request: Request) -> Response:
        job = await self._start(request, is_blocking=False)
        address = f"{self._stage.options.base_url.rstrip('/')}/segmind/v2/requests/{job.id}"
        answer = {
            "request_id": job.id,
            "status": "QUEUED",
            "poll_url": f"{address}/status",
            "status_url": f"{address}/status",
            "response_url": address,
        }
        return answered(job.fault, JSONResponse(answer))

    async def _status(self, request: Request) -> Response:
        return self._stands(self._asked(request), {})

    async def _result(self, request: Request) -> Response:
        job = self._asked(request)
        if job.state is not State.SUCCEEDED:
            return self._stands(job, {})
        job.looks += 1
        if job.fault is Fault.GARBAGE:
            return Response(GARBAGE, media_type="application/json")
        # Whoever asks a second time gets a good link.
        result = self._output(job, is_fresh=job.looks > 1)
        took_seconds = (job.finished_at - job.created_at).total_seconds() if job.finished_at else 0.0
        # Every model has an output; what it is for a video is not published; ours: the link.
        output = result["video"]["url"] if result["video"] else None
        return self._stands(job, {"metrics": {"inference_time": took_seconds}, "output": output, **result})

    @staticmethod
    def _stands(job: Job, more: dict[str, Any]) -> Response:
        status = STATUSES[job.state]
        answer = {"request_id": job.id, "status": status, **more}
        if status == "FAILED":
            # Under HTTP 422, as the official client knows.
            return JSONResponse(answer | {"error": job.problem_text or "The job was stopped."}, 422)
        return JSONResponse(answer)

    def _asked(self, request: Request) -> Job:
        self._stage.ledger.count(self.name, Call.STATUS)
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["request_id"])
        if job is None or self._is_forgotten(job):
            raise refusal(*REFUSALS["404"])
        return job

    def _is_forgotten(self, job: Job) -> bool:
        if job.finished_at is None:
            return False
        age_seconds = (datetime.now(UTC) - job.finished_at).total_seconds()
        return age_seconds > RESULT_LIFE_SECONDS / self._stage.options.speed

    # What both have in common

    async def _start(self, request: Request, *, is_blocking: bool) -> Job:
        self._stage.ledger.count(self.name, Call.SUBMIT)
        self._authorize(request)
        fields = await _fields(request)
        prompt = str(fields.get("prompt", ""))
        holds_file = is_blocking and not self._wants_json(prompt)
        try:
            wishes = read_wishes(
                prompt=prompt,
                headers=request.headers,
                default=self._stage.options.default_fault(self.name),
                refusals=REFUSALS,
                possible=self.faults - LINK_FAULTS if holds_file else self.faults,
            )
        except UnknownWish as error:
            raise refusal(400, str(error)) from error
        if wishes.refusal is not None:
            raise refusal(*REFUSALS[wishes.refusal])
        accepted = check_fields(fields)
        if (shortage := self._stage.shortage(self.name)) is not None:
            raise refusal(*REFUSALS[SHORTAGES[shortage]])
        job_id = str(uuid.uuid4())
        job = Job(
            provider=self.name,
            id=job_id,
            fault=wishes.fault,
            fields=accepted,
            reply_url=None,
            result=f"{job_id}.mp4",
            is_stuck=wishes.fault is Fault.NEVER,
            extra_seconds=LATE_BY_SECONDS if wishes.fault is Fault.LATE else 0.0,
            order=Order(
                seconds=accepted["duration"],
                height=int(accepted["quality"].removesuffix("p")),
                audio=False,
                obtain=partial(self._fetch, accepted["video_url"]),
            ),
        )
        await self._stage.jobs.start(job, self)
        return job

    async def _fetch(self, url: str, scratch: Path) -> Path:
        await self._stage.outbound.fetch(
            url, scratch, limit_bytes=UPLOAD_LIMIT_BYTES, timeout_seconds=FETCH_TIMEOUT_SECONDS
        )
        return scratch

    async def _upload(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.UPLOAD)
        self._authorize(request)
        fields = await _fields(request, 2 * UPLOAD_LIMIT_BYTES)
        data_urls = fields.get("data_urls")
        if not isinstance(data_urls, list) or not data_urls:
            raise refusal(400, "data_urls is required")
        contents = [_content(data_url) for data_url in data_urls]
        names = [f"asset-{uuid.uuid4()}.mp4" for _ in contents]
        for name, content in zip(names, contents, strict=True):
            await anyio.Path(self._stage.media.path(self.name, name)).write_bytes(content)
        urls = [self._stage.media.url(self.name, name) for name in names]
        return JSONResponse({"file_urls": urls, "message": "Files uploaded successfully"})

    def _authorize(self, request: Request) -> None:
        if request.headers.get("x-api-key") != self._stage.options.api_key:
            raise refusal(*REFUSALS["401"])


async def _fields(request: Request, limit_bytes: int = 1024 * 1024) -> dict[str, Any]:
    try:
        return await read_fields(request, limit_bytes)
    except UnreadableBody as error:
        raise refusal(400, str(error)) from error


def _content(data_url: object) -> bytes:
    head, _, text = data_url.partition(",") if isinstance(data_url, str) else ("", "", "")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not (head.startswith("data:") and head.endswith(";base64") and content):
        raise refusal(400, "data_urls must hold data URLs in base64")
    return content
