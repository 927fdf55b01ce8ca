"""useapi.net, PixVerse API v2. https://useapi.net/docs/api-pixverse-v2 (read 2026-11)

Signs nothing: a callback proves itself by the address it is sent to.
"""

import json
import random
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from replyhook_receiver.sandbox.bodies import UnreadableBody, read_fields, read_form, save_body
from replyhook_receiver.sandbox.callbacks import Delivery, Envelope, Seal
from replyhook_receiver.sandbox.faults import Fault, UnknownWish, read_wishes
from replyhook_receiver.sandbox.forgeries import tampered
from replyhook_receiver.sandbox.job import ACTIVE, Job, Order, Problem, State
from replyhook_receiver.sandbox.ledger import Call
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.responses import answered
from replyhook_receiver.sandbox.stage import Refusal, Shortage, Stage
from replyhook_receiver.sandbox.useapi_fields import (
    ERROR_CODES,
    MAX_JOBS,
    REFUSALS,
    bad_request,
    check_fields,
    from_form,
)

USER_ID = 4711
EMAIL = "jane.doe@example.com"
ACCOUNT_ID = 33445566
LISTED_BY_DEFAULT = 40
GARBAGE = b'{"video_id": "user:\xff'

# status: (video_status, video_status_name, video_status_final). The first three are published, and QUEUED really
# does call itself final there. Numbers for failures are not published; ours, after PixVerse's own (8 = failed).
STATUSES = {
    State.SUCCEEDED: (1, "COMPLETED", True),
    State.QUEUED: (5, "QUEUED", True),
    State.RUNNING: (10, "GENERATING", False),
    State.FAILED: (8, "FAILED", True),
    State.CANCELED: (8, "FAILED", True),
}
MODERATED = (7, "MODERATED", True)  # the name is published, the number is not
UPLOAD_SUFFIXES = {"video/mp4": ".mp4", "video/quicktime": ".mov"}


class UseApi:
    """One customer's useapi.net with one PixVerse account, under ``/useapi/v2/pixverse``."""

    name = "useapi"
    faults = frozenset(Fault)
    tells_progress = True
    # Neither a time-out nor any retry is published; ours: modest ones.
    delivery = Delivery(ladder=(5, 30, 120), timeout_seconds=10.0)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._uploads: dict[str, str] = {}

    @staticmethod
    def settings(options: SandboxOptions) -> dict[str, str]:
        base = options.base_url.rstrip("/")
        return {"api_key": options.api_key, "base_url": f"{base}/useapi/v2/pixverse", "media_hosts": options.host}

    def routes(self) -> list[BaseRoute]:
        def both(path: str, endpoint: Any, method: str) -> list[BaseRoute]:
            # The documents write these with a slash at the end, the samples without.
            return [Route(path, endpoint, methods=[method]), Route(f"{path}/", endpoint, methods=[method])]

        return [
            Mount(
                "/useapi/v2/pixverse",
                routes=[
                    *both("/videos/extend-v3", self._submit, "POST"),
                    *both("/videos/extend-v4", self._submit, "POST"),
                    *both("/videos", self._list, "GET"),
                    *both("/files", self._upload, "POST"),
                    Route("/videos/{video_id}", self._status, methods=["GET"]),
                ],
            )
        ]

    def admin_routes(self) -> list[BaseRoute]:
        return []

    # The voice

    def callback(self, job: Job) -> Seal | None:
        if job.reply_url is None:
            return None
        # The item is made now: a progress report stays what it was when the job moves on.
        return partial(_post, job.reply_url, json.dumps(self._item(job)).encode())

    def garbage(self, job: Job) -> Seal:
        return partial(_post, job.reply_url or "", GARBAGE)

    def forgeries(self, job: Job) -> Sequence[Seal]:
        body = json.dumps(self._item(job)).encode()
        return [partial(_post, url, body) for url in tampered(job.reply_url or "", self.name)]

    def _item(self, job: Job, *, is_asked: bool = False) -> dict[str, Any]:
        """A video as the list, the status call (``is_asked``) and the callbacks all show it."""
        fields = job.fields
        number, word, is_final = MODERATED if job.problem is Problem.MODERATED else STATUSES[job.state]
        item = {
            "video_id": job.id,
            "video_status": number,
            "video_status_name": word,
            "video_status_final": is_final,
            "account_id": ACCOUNT_ID,
            "created_at": job.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "first_frame": "",
            "output_width": job.clip.width if job.clip else 0,
            "output_height": job.clip.height if job.clip else 0,
            "original_video_id": fields.get("video_id", 0),
            "upscaled": 0,
            "prompt": fields["prompt"],
            "model": "v3",
            "negative_prompt": fields["negative_prompt"],
            "quality": fields["quality"],
            "motion_mode": fields["motion_mode"],
            "seed": fields.get("seed", 0),
            "queue_data": {"queue_time": 1, "queue_count": 0},
            "video_duration": fields["duration"],
            "extended": 1,
            "url": self._url(job, is_asked=is_asked),
            "duration": fields["duration"],
            "remove_watermark": int(fields["remove_watermark"]),
            "style": fields["style"],
            "template_id": fields.get("template_id", 0),
        }
        if job.state is State.RUNNING:
            item["progress"] = job.progress  # that there is progress is published, its name is not; ours
        if job.problem is not None:
            item |= {"errCode": ERROR_CODES[job.problem], "errMsg": job.problem_text}
        return item | ({"replyRef": fields["replyRef"]} if "replyRef" in fields else {})

    def _url(self, job: Job, *, is_asked: bool) -> str:
        # The published sample of a video that is still being generated already has its link.
        if job.state not in (State.RUNNING, State.SUCCEEDED) or (job.fault is Fault.NO_RESULT and not is_asked):
            return ""
        return self._stage.media.link(self.name, job.result, job.fault, is_fresh=is_asked)

    # The endpoints

    async def _submit(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.SUBMIT)
        self._authorize(request)
        fields = await self._fields(request)
        try:
            wishes = read_wishes(
                prompt=str(fields.get("prompt", "")),
                headers=request.headers,
                default=self._stage.options.default_fault(self.name),
                refusals=REFUSALS,
            )
        except UnknownWish as error:
            raise bad_request(str(error)) from error
        if wishes.refusal is not None:
            status, text = REFUSALS[wishes.refusal]
            raise Refusal(status, {"error": text})
        accepted = check_fields(fields)
        if accepted.get("email", EMAIL) != EMAIL:
            raise bad_request(f"Account {accepted['email']} is not configured.")
        source = self._source(accepted)
        self._check_capacity(accepted)
        job = Job(
            provider=self.name,
            id=f"user:{USER_ID}-pixverse:{EMAIL}-video:{random.randrange(10**11, 10**12)}",
            fault=wishes.fault,
            fields=accepted,
            reply_url=accepted.get("replyUrl") or None,
            result=f"{uuid.uuid4()}.mp4",
            order=Order(
                seconds=accepted["duration"],
                height=int(accepted["quality"].removesuffix("p")),
                audio=False,
                obtain=partial(_at_hand, source),
            ),
        )
        await self._stage.jobs.start(job, self)
        return answered(job.fault, JSONResponse({"video_id": job.id}))

    async def _fields(self, request: Request) -> dict[str, Any]:
        try:
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                return from_form(await read_form(request))
            return await read_fields(request)
        except UnreadableBody as error:
            raise bad_request(f"The request cannot be read: {error}.") from error

    def _source(self, accepted: dict[str, Any]) -> Path:
        if path := accepted.get("video_path"):
            if path not in self._uploads:
                raise bad_request("Parameter video_path names no uploaded file.")
            return self._stage.media.path(self.name, self._uploads[path])
        original = self._stage.jobs.get(self.name, accepted["video_id"])
        if original is None or original.state is not State.SUCCEEDED:
            raise bad_request("Parameter video_id names no completed video.")
        return self._stage.media.path(self.name, original.result)

    def _check_capacity(self, accepted: dict[str, Any]) -> None:
        if (shortage := self._stage.shortage(self.name)) is not None:
            status, text = REFUSALS["412" if shortage is Shortage.CREDITS else "429"]
            raise Refusal(status, {"error": text})
        allowed = accepted.get("maxJobs", MAX_JOBS)
        if len(self._stage.jobs.active(self.name)) < allowed:
            return
        if "email" in accepted:
            raise Refusal(429, {"error": f"Account {EMAIL} is busy executing {allowed} tasks."})
        raise Refusal(429, {"error": "All configured accounts are running at maximum capacity."})

    async def _status(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["video_id"])
        # Published: 404 while the video is being made, the same as for one that does not exist. The text is ours.
        if job is None or job.state in ACTIVE:
            raise Refusal(404, {"error": "Video not found."})
        return JSONResponse(self._item(job, is_asked=True))

    async def _list(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        self._authorize(request)
        limit = _whole_number(request, "limit", LISTED_BY_DEFAULT)
        offset = _whole_number(request, "offset", 0)
        if request.query_params.get("email", EMAIL) != EMAIL:
            raise bad_request("Parameter email names no configured account.")
        newest_first = self._stage.jobs.all(self.name)[::-1]
        shown = newest_first[offset : offset + limit]
        return JSONResponse({"data": [self._item(job, is_asked=True) for job in shown]})

    async def _upload(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.UPLOAD)
        self._authorize(request)
        if request.query_params.get("email", EMAIL) != EMAIL:
            raise bad_request("Parameter email names no configured account.")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in UPLOAD_SUFFIXES:
            raise bad_request(f"Content-Type must be one of: {', '.join(UPLOAD_SUFFIXES)}.")
        name = f"{uuid.uuid4()}{UPLOAD_SUFFIXES[kind]}"
        target = self._stage.media.path(self.name, name)
        if await save_body(request, target) == 0:
            target.unlink()
            raise bad_request("The file is empty.")
        self._uploads[f"upload/{name}"] = name
        return JSONResponse({"path": f"upload/{name}", "url": self._stage.media.url(self.name, name)})

    def _authorize(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._stage.options.api_key}":
            raise Refusal(401, {"error": "Unauthorized"})


async def _at_hand(source: Path, _scratch: Path) -> Path:
    return source


def _post(url: str, body: bytes) -> Envelope:
    return Envelope(url=url, headers={"content-type": "application/json"}, body=body)


def _whole_number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isdecimal() and len(text) <= 9):
        raise bad_request(f"Parameter {name} must be a whole number.")
    return int(text)
