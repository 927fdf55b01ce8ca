"""AIHubMax, ``pixverse-v6-extend``. https://docs.aihubmax.com (read 2026-11); EvoLink is the same but for its results.

Signs nothing: a callback proves itself by the address it is sent to. That ``callback_url`` works for this model is
inferred; fault ``never`` is a gateway that ignores it, refusal ``422`` one that does not know it.
"""

import base64
import binascii
import json
import random
import string
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from replyhook_receiver.sandbox.aihubmax_fields import PROBLEMS, REFUSALS, check_fields, refusal
from replyhook_receiver.sandbox.bodies import UPLOAD_LIMIT_BYTES, UnreadableBody, read_fields, read_parts
from replyhook_receiver.sandbox.callbacks import Delivery, Envelope, Seal
from replyhook_receiver.sandbox.faults import Fault, UnknownWish, has_mark, read_wishes
from replyhook_receiver.sandbox.forgeries import tampered
from replyhook_receiver.sandbox.job import ACTIVE, Job, Order, State
from replyhook_receiver.sandbox.ledger import Call
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.outbound import OutboundError
from replyhook_receiver.sandbox.responses import answered
from replyhook_receiver.sandbox.stage import Shortage, Stage

FETCH_TIMEOUT_SECONDS = 60.0
GARBAGE = b'{"id": "task-unified-\xff'
EVOLINK = "evolink"
UNFINISHED_PROGRESS = 95  # of a completed task whose results are not there yet
LOOKS_BEFORE_RESULTS = 2  # the first status call still shows none
SHORTAGES = {Shortage.CREDITS: "402", Shortage.CONCURRENCY: "429"}
STATUSES = {
    State.QUEUED: "pending",
    State.RUNNING: "processing",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELED: "cancelled",
}


class AiHubMax:
    """The gateway at ``/aihubmax``."""

    name = "aihubmax"
    faults = frozenset(Fault)
    tells_progress = False
    delivery = Delivery(ladder=(1, 2, 4), timeout_seconds=10.0)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @staticmethod
    def settings(options: SandboxOptions) -> dict[str, str]:
        base = options.base_url.rstrip("/")
        return {"api_key": options.api_key, "base_url": f"{base}/aihubmax", "media_hosts": options.host}

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(
                "/aihubmax/v1",
                routes=[
                    Route("/videos/generations", self._submit, methods=["POST"]),
                    Route("/tasks/{task_id}", self._status, methods=["GET"]),
                    Route("/files/upload/base64", self._upload_base64, methods=["POST"]),
                    Route("/files/upload/url", self._upload_url, methods=["POST"]),
                    Route("/files/upload/stream", self._upload_stream, methods=["POST"]),
                ],
            )
        ]

    def admin_routes(self) -> list[BaseRoute]:
        return []

    # The voice

    def callback(self, job: Job) -> Seal | None:
        if job.reply_url is None:
            return None
        return partial(_post, job.reply_url, json.dumps(self._told(job)).encode())

    def garbage(self, job: Job) -> Seal:
        return partial(_post, job.reply_url or "", GARBAGE)

    def forgeries(self, job: Job) -> Sequence[Seal]:
        body = json.dumps(self._told(job)).encode()
        return [partial(_post, url, body) for url in tampered(job.reply_url or "", self.name)]

    def _told(self, job: Job) -> dict[str, Any]:
        return self._task(job, is_asked=False, has_results=job.fault is not Fault.NO_RESULT)

    def _task(self, job: Job, *, is_asked: bool, has_results: bool) -> dict[str, Any]:
        """A task as the status call and the callbacks show it."""
        task = self._head(job) | {"results": None, "error": None}
        if job.state is State.SUCCEEDED and has_results:
            url = self._stage.media.link(self.name, job.result, job.fault, is_fresh=is_asked)
            task["results"] = [url if self._is_evolink(job) else {"url": url}]
        elif job.state is State.SUCCEEDED:
            task["progress"] = UNFINISHED_PROGRESS
        if job.problem is not None:
            task["error"] = {"code": PROBLEMS[job.problem], "message": job.problem_text, "type": "task_error"}
        if self._is_evolink(job):
            return task | {"task_info": {"can_cancel": False}}
        return task | {"usage": {"credits_reserved": 3, "user_group": "default"}}

    @staticmethod
    def _head(job: Job) -> dict[str, Any]:
        """What the answer to the submit call and the task have in common."""
        return {
            "id": job.id,
            "object": "video.generation.task",
            "type": "video",
            "model": job.fields["model"],
            "status": STATUSES[job.state],
            "progress": job.progress,
            "created": int(job.created_at.timestamp()),
        }

    def _is_evolink(self, job: Job) -> bool:
        return self._stage.options.aihubmax_evolink or has_mark(job.fields["prompt"], EVOLINK)

    # The tasks

    async def _submit(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.SUBMIT)
        self._authorize(request)
        fields = await _fields(request)
        try:
            wishes = read_wishes(
                prompt=str(fields.get("prompt", "")),
                headers=request.headers,
                default=self._stage.options.default_fault(self.name),
                refusals=REFUSALS,
                possible=self.faults,
            )
        except UnknownWish as error:
            raise refusal(400, str(error)) from error
        if wishes.refusal is not None:
            raise refusal(*REFUSALS[wishes.refusal])
        accepted = check_fields(fields)
        if (shortage := self._stage.shortage(self.name)) is not None:
            raise refusal(*REFUSALS[SHORTAGES[shortage]])
        random_part = "".join(random.choices(string.ascii_lowercase + string.digits, k=8))
        job = Job(
            provider=self.name,
            id=f"task-unified-{int(time.time())}-{random_part}",
            fault=wishes.fault,
            fields=accepted,
            reply_url=accepted.get("callback_url"),
            result=f"{uuid.uuid4()}.mp4",
            order=Order(
                seconds=accepted["duration"],
                height=int(accepted["resolution"].removesuffix("p")),
                audio=accepted["generate_audio"],
                obtain=partial(self._fetch, accepted["video_url"]),
            ),
        )
        # As the task stands when it is accepted, even if an early callback comes first.
        answer = self._head(job) | {"task_info": {"can_cancel": True, "estimated_time": 45}}
        await self._stage.jobs.start(job, self)
        return answered(job.fault, JSONResponse(answer))

    async def _status(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["task_id"])
        if job is None:
            raise refusal(404, "The task does not exist.")
        # sync_upstream=true changes nothing: here a task is never behind what it is made by.
        job.looks += job.state not in ACTIVE
        has_results = job.fault is not Fault.NO_RESULT or job.looks >= LOOKS_BEFORE_RESULTS
        return JSONResponse(self._task(job, is_asked=True, has_results=has_results))

    def _authorize(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._stage.options.api_key}":
            raise refusal(*REFUSALS["401"])

    async def _fetch(self, url: str, target: Path) -> Path:
        await self._stage.outbound.fetch(
            url, target, limit_bytes=UPLOAD_LIMIT_BYTES, timeout_seconds=FETCH_TIMEOUT_SECONDS
        )
        return target

    # Uploads: real links live for 72 hours; these as long as the sandbox.

    async def _upload_base64(self, request: Request) -> Response:
        self._begin_upload(request)
        fields = await _fields(request, 2 * UPLOAD_LIMIT_BYTES)
        try:
            content = base64.b64decode(_text(fields, "file_data").rpartition(",")[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise refusal(422, "file_data is not base64") from error
        return await self._keep(content, fields.get("file_name"))

    async def _upload_url(self, request: Request) -> Response:
        self._begin_upload(request)
        fields = await _fields(request)
        name = _new_name()
        target = self._stage.media.path(self.name, name)
        try:
            await self._fetch(_text(fields, "url"), target)
        except OutboundError as error:
            target.unlink(missing_ok=True)
            raise refusal(422, f"url cannot be fetched: {error}") from error
        return self._uploaded(name, fields.get("file_name"), target.stat().st_size)

    async def _upload_stream(self, request: Request) -> Response:
        self._begin_upload(request)
        try:
            parts = await read_parts(request, UPLOAD_LIMIT_BYTES)
        except UnreadableBody as error:
            raise refusal(400, str(error)) from error
        if "file" not in parts:
            raise refusal(400, "file is required")
        return await self._keep(parts["file"], parts.get("file_name", b"").decode(errors="replace"))

    def _begin_upload(self, request: Request) -> None:
        self._stage.ledger.count(self.name, Call.UPLOAD)
        self._authorize(request)

    async def _keep(self, content: bytes, file_name: object) -> Response:
        if not content:
            raise refusal(422, "the file is empty")
        name = _new_name()
        await anyio.Path(self._stage.media.path(self.name, name)).write_bytes(content)
        return self._uploaded(name, file_name, len(content))

    def _uploaded(self, name: str, file_name: object, size: int) -> Response:
        return JSONResponse(
            {
                "id": name.removesuffix(".mp4"),
                "filename": file_name if isinstance(file_name, str) and file_name else name,
                "url": self._stage.media.url(self.name, name),
                "size": size,
                "created": int(time.time()),
            }
        )


def _new_name() -> str:
    return f"file-{uuid.uuid4().hex}.mp4"


async def _fields(request: Request, limit_bytes: int = 1024 * 1024) -> dict[str, Any]:
    try:
        return await read_fields(request, limit_bytes)
    except UnreadableBody as error:
        raise refusal(400, str(error)) from error


def _text(fields: dict[str, Any], name: str) -> str:
    if not isinstance(fields.get(name), str):
        raise refusal(400, f"{name} is required")
    return str(fields[name])


def _post(url: str, body: bytes) -> Envelope:
    return Envelope(url=url, headers={"content-type": "application/json"}, body=body)
