"""The PixVerse Platform, its extend endpoint. https://docs.platform.pixverse.ai (read 2026-11)

Signs callbacks: see ``pixverse_webhooks``. A job names a webhook of the console; there is no address per job.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from replyhook_receiver.sandbox.bodies import UnreadableBody, read_fields
from replyhook_receiver.sandbox.callbacks import Delivery, Seal
from replyhook_receiver.sandbox.faults import Fault, UnknownWish, has_mark, read_wishes
from replyhook_receiver.sandbox.job import Job, Order, Problem, State
from replyhook_receiver.sandbox.ledger import Call
from replyhook_receiver.sandbox.options import SandboxOptions
from replyhook_receiver.sandbox.pixverse_fields import REFUSALS, check_fields, refusal, refusal_asked_for
from replyhook_receiver.sandbox.pixverse_uploads import PixVerseUploads
from replyhook_receiver.sandbox.pixverse_webhooks import DEFAULT_WEBHOOK_ID, PixVerseWebhooks, Webhook
from replyhook_receiver.sandbox.responses import answered
from replyhook_receiver.sandbox.stage import Shortage, Stage

REMEMBERED_TRACES = 100_000
JOB_CREDITS = 100
ODD_LINK = "odd_link"  # the mark for a link with characters that the four samples escape in different ways
SHORTAGES = {Shortage.CREDITS: "500090", Shortage.CONCURRENCY: "500044"}
STATUSES = {State.SUCCEEDED: 1, State.QUEUED: 5, State.RUNNING: 5, State.FAILED: 8, State.CANCELED: 8}
MODERATED = 7


def is_ok(status: int, text: str) -> bool:
    """The one answer that PixVerse takes for a delivery."""
    return status == 200 and text == "ok"


class PixVerse:
    """One account at ``/pixverse/openapi/v2``."""

    name = "pixverse"
    faults = frozenset(Fault)
    tells_progress = False
    # The time-out is not published; ours.
    delivery = Delivery(ladder=(2, 10, 30, 60, 300, 900, 3600, 14_400), timeout_seconds=10.0, is_delivered=is_ok)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._webhooks = PixVerseWebhooks(stage.options)
        self._traces: dict[str, None] = {}
        self._uploads = PixVerseUploads(stage, self.name)

    @staticmethod
    def settings(options: SandboxOptions) -> dict[str, str]:
        _, secret = options.pixverse_webhooks.get(DEFAULT_WEBHOOK_ID, ("", options.pixverse_secret))
        return {
            "api_key": options.api_key,
            "base_url": f"{options.base_url.rstrip('/')}/pixverse/openapi/v2",
            "media_hosts": options.host,
            "webhook_id": DEFAULT_WEBHOOK_ID,
            "webhook_secrets": secret,
        }

    @staticmethod
    def enter_webhook(options: SandboxOptions, url: str) -> SandboxOptions:
        """``options`` with ``url`` in the console as the webhook that ``settings`` names."""
        _, secret = options.pixverse_webhooks.get(DEFAULT_WEBHOOK_ID, ("", options.pixverse_secret))
        webhooks = {**options.pixverse_webhooks, DEFAULT_WEBHOOK_ID: (url, secret)}
        return replace(options, pixverse_webhooks=webhooks)

    def routes(self) -> list[BaseRoute]:
        return [
            Mount(
                "/pixverse/openapi/v2",
                routes=[
                    Route("/video/extend/generate", self._submit, methods=["POST"]),
                    Route("/video/result/{video_id}", self._result, methods=["GET"]),
                    Route("/media/upload", self._upload, methods=["POST"]),
                    Route("/account/balance", self._balance, methods=["GET"]),
                ],
            )
        ]

    def admin_routes(self) -> list[BaseRoute]:
        """The console."""
        return self._webhooks.admin_routes()

    # The voice

    def callback(self, job: Job) -> Seal | None:
        if job.reply_url is None:
            return None
        return self._webhooks.genuine(*self._addressed(job), self._report(job))

    def garbage(self, job: Job) -> Seal:
        return self._webhooks.garbage(*self._addressed(job))

    def forgeries(self, job: Job) -> Sequence[Seal]:
        return self._webhooks.forgeries(*self._addressed(job), self._report(job))

    def _addressed(self, job: Job) -> tuple[Webhook, str]:
        return job.fields["webhook"], job.fields["trace_id"]

    def _report(self, job: Job) -> dict[str, Any]:
        """A callback's body. Only a success is published; a failure's has the same fields."""
        is_done = job.state is State.SUCCEEDED
        return {
            "id": job.id,
            "status": _status_of(job),
            "url": self._url(job, is_fresh=False) if is_done and job.fault is not Fault.NO_RESULT else "",
            "size": 10.5 if is_done else 0,  # the sample's; its unit is not published
            "has_audio": is_done and job.order.audio,
            "credits": JOB_CREDITS if is_done else 0,
        }

    def _url(self, job: Job, *, is_fresh: bool) -> str:
        url = self._stage.media.link(self.name, job.result, job.fault, is_fresh=is_fresh)
        if not has_mark(job.fields["prompt"], ODD_LINK):
            return url
        return f"{url}{'&' if '?' in url else '?'}v=~*+%20(1)"

    # The endpoints

    async def _submit(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.SUBMIT)
        is_reused = self._authorize(request)
        try:
            fields = await read_fields(request)
            wishes = read_wishes(
                prompt=str(fields.get("prompt", "")),
                headers=request.headers,
                default=self._stage.options.default_fault(self.name),
                refusals=REFUSALS,
                possible=self.faults,
            )
        except UnreadableBody as error:
            raise refusal("400013", str(error)) from error
        except UnknownWish as error:
            raise refusal("400017", str(error), 400) from error
        if wishes.refusal is not None:
            raise refusal_asked_for(wishes.refusal)
        accepted = check_fields(fields)
        source = self._source(accepted)
        webhook = self._webhook(accepted)
        if (shortage := self._stage.shortage(self.name)) is not None:
            raise refusal(SHORTAGES[shortage])
        # Beyond 2^53: a reader that takes it for a float asks for another video.
        video_id = random.randrange(10**17, 10**18)
        job = Job(
            provider=self.name,
            id=str(video_id),
            fault=wishes.fault,
            fields=accepted | {"webhook": webhook, "trace_id": request.headers["ai-trace-id"]},
            reply_url=webhook.url if webhook else None,
            result=f"{uuid.uuid4()}.mp4",
            is_stuck=is_reused,  # "the most common cause" of a job that stays in Generating
            order=Order(
                seconds=accepted["duration"],
                height=int(accepted["quality"].removesuffix("p")),
                audio=accepted.get("generate_audio_switch", False),
                obtain=partial(_at_hand, source),
            ),
        )
        await self._stage.jobs.start(job, self)
        return answered(job.fault, _answer({"video_id": video_id, "credits": JOB_CREDITS}))

    def _source(self, accepted: dict[str, Any]) -> Path:
        if "video_media_id" in accepted:
            return self._uploads.find(accepted["video_media_id"])
        original = self._stage.jobs.get(self.name, str(accepted["source_video_id"]))
        if original is None or original.state is not State.SUCCEEDED:
            raise refusal("400017", "couldn't find a matching source_video_id")
        return self._stage.media.path(self.name, original.result)

    def _webhook(self, accepted: dict[str, Any]) -> Webhook | None:
        if not accepted.get("webhook_id"):
            return None
        if (webhook := self._webhooks.find(accepted["webhook_id"])) is None:
            # What an id that the console does not have leads to is not published; ours.
            how = self._webhooks.how_to_make_one(self._stage.options.base_url)
            raise refusal("400017", f"couldn't find a matching webhook_id. {how}")
        return webhook

    async def _result(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.STATUS)
        self._authorize(request)
        job = self._stage.jobs.get(self.name, request.path_params["video_id"])
        if job is None:
            raise refusal("500008")
        path = self._stage.media.path(self.name, job.result)
        is_done = job.state is State.SUCCEEDED
        return _answer(
            {
                "create_time": _time(job.created_at),
                "id": int(job.id),
                "modify_time": _time(job.finished_at or job.created_at),
                "negative_prompt": job.fields.get("negative_prompt", ""),
                "outputHeight": job.clip.height if job.clip else 0,
                "outputWidth": job.clip.width if job.clip else 0,
                "prompt": job.fields["prompt"],
                "resolution_ratio": 0,
                "seed": job.fields.get("seed", 0),
                "size": path.stat().st_size if is_done else 0,
                "status": _status_of(job),
                "style": job.fields.get("style", ""),
                "url": self._url(job, is_fresh=True) if is_done else "",
            }
        )

    async def _balance(self, request: Request) -> Response:
        self._authorize(request)
        left = 1000 if self._stage.options.credits is None else self._stage.options.credits
        left -= self._stage.ledger.number(self.name, Call.BILLED)
        # The names are not in what was read; ours, after other PixVerse answers.
        return _answer({"account_id": 1, "credit_monthly": 0, "credit_package": max(0, left) * JOB_CREDITS})

    async def _upload(self, request: Request) -> Response:
        self._stage.ledger.count(self.name, Call.UPLOAD)
        self._authorize(request)
        media_id, url = await self._uploads.take(request)
        return _answer({"media_id": media_id, "media_type": "video", "url": url}, "success")

    def _authorize(self, request: Request) -> bool:
        """Whether the trace id was used before. Raises a refusal."""
        if request.headers.get("api-key") != self._stage.options.api_key:
            raise refusal("400012")
        trace_id = request.headers.get("ai-trace-id", "")
        if not trace_id:
            raise refusal("400011", "Ai-Trace-Id is empty")
        try:
            uuid.UUID(trace_id)
        except ValueError as error:
            raise refusal("400013", "Ai-Trace-Id is not a UUID") from error
        is_reused = trace_id.lower() in self._traces
        self._traces[trace_id.lower()] = None
        if len(self._traces) > REMEMBERED_TRACES:
            del self._traces[next(iter(self._traces))]
        return is_reused


async def _at_hand(source: Path, _scratch: Path) -> Path:
    return source


def _answer(resp: dict[str, Any], text: str = "Success") -> Response:
    return JSONResponse({"ErrCode": 0, "ErrMsg": text, "Resp": resp})


def _status_of(job: Job) -> int:
    return MODERATED if job.problem is Problem.MODERATED else STATUSES[job.state]


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
