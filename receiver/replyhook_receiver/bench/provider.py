"""A provider, its media host, and the user's own endpoint, on loopback: what a latency bench times on both sides."""

import asyncio
import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nacl.signing import SigningKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from replyhook.notifications import NotificationType, verify_notification
from replyhook.tokens import TokenKeys
from replyhook_receiver.bench.receiver import SECRET
from replyhook_receiver.bench.traffic import FAL_USER, REPLY_KEY, BenchJob

_TOKENS = TokenKeys((REPLY_KEY,))


@dataclass(kw_only=True)
class Times:
    """When what happened to one job, on one clock; None for what has not."""

    done: float | None = None
    answered: float | None = None
    fetched: float | None = None
    told: float | None = None
    polled: float | None = None


@dataclass(kw_only=True)
class BenchProvider:
    """Jobs that end when they are told to: with a callback to the receiver, and a word for those who ask."""

    video: bytes = field(repr=False)
    url: str = ""
    times: dict[str, Times] = field(default_factory=dict)
    status_calls: int = 0
    fal_key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    def app(self) -> Starlette:
        """The application to serve."""
        return Starlette(
            routes=[
                Route("/jwks.json", self._keys),
                Route("/media/{job}.mp4", self._media),
                Route("/pixverse/videos/{job}", self._status),
                Route("/hooks", self._hear, methods=["POST"], max_body_size=1024 * 1024),
            ]
        )

    def callback(self, job: BenchJob) -> bytes:
        """The whole request that tells of a job's success: fal's is signed, useapi.net's has its token alone."""
        link = f"{self.url}/media/{job.id}.mp4"
        if job.provider == "fal":
            video = {"url": link, "content_type": "video/mp4", "file_size": len(self.video)}
            content = {"request_id": job.provider_job_id, "status": "OK", "payload": {"video": video}}
            body = json.dumps(content).encode()
            return _request(job, body, self._signed(job, body))
        content = {"video_id": job.provider_job_id, "video_status_name": "COMPLETED", "url": link, "replyRef": job.id}
        return _request(job, json.dumps(content).encode(), {})

    def _signed(self, job: BenchJob, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        parts = (job.provider_job_id, FAL_USER, timestamp, hashlib.sha256(body).hexdigest())
        return {
            "x-fal-webhook-request-id": job.provider_job_id,
            "x-fal-webhook-user-id": FAL_USER,
            "x-fal-webhook-timestamp": timestamp,
            "x-fal-webhook-signature": self.fal_key.sign("\n".join(parts).encode()).signature.hex(),
        }

    async def _keys(self, _: Request) -> Response:
        key = base64.urlsafe_b64encode(bytes(self.fal_key.verify_key)).rstrip(b"=").decode()
        return JSONResponse({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": key}]})

    async def _media(self, request: Request) -> Response:
        times = self.times[request.path_params["job"]]
        if request.headers.get("user-agent") != "poller":
            times.fetched = times.fetched or time.perf_counter()
        return Response(self.video, media_type="video/mp4")

    async def _status(self, request: Request) -> Response:
        self.status_calls += 1
        job_id = request.path_params["job"]
        if self.times[job_id].done is None:
            return JSONResponse({"video_id": job_id, "video_status_name": "GENERATING"})
        link = f"{self.url}/media/{job_id}.mp4"
        return JSONResponse({"video_id": job_id, "video_status_name": "COMPLETED", "url": link})

    async def _hear(self, request: Request) -> Response:
        now = time.perf_counter()
        notification = verify_notification(dict(request.headers), await request.body(), SECRET)
        if notification.type == NotificationType.VIDEO_STORED:
            times = self.times[notification.data["id"]]
            times.told = times.told or now
        return PlainTextResponse("ok")

    async def until_all_told(self, seconds: float) -> None:
        """Wait until every job was told and polled, but not for ever."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            if all(times.told and times.polled for times in self.times.values()):
                return
            await asyncio.sleep(0.05)


def _request(job: BenchJob, body: bytes, more: dict[str, str]) -> bytes:
    path = f"/callbacks/{job.provider}/{_TOKENS.mint(provider=job.provider, job_id=job.id, now=datetime.now(UTC))}"
    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)), **more}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
