"""The callbacks a bench sends: one final success for each of many jobs, as useapi.net and fal send them."""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from itsdangerous import URLSafeSerializer
from nacl.signing import SigningKey

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys

REPLY_KEY = "bench-reply-key-0123456789-0123456789"
FAL_USER = "bench-user"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """A job to be called back about."""

    id: str
    provider: str
    provider_job_id: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """Makes requests. One signing key of fal's serves a whole run."""

    fal_key: SigningKey = field(default_factory=SigningKey.generate, repr=False)

    def jobs(self, provider: str, count: int) -> list[BenchJob]:
        """New jobs at a provider, submitted one after another in the last hour."""
        times = (time.time() - 3600 * (count - number) / count for number in range(count))
        return [
            BenchJob(id=new_id("job", at=at), provider=provider, provider_job_id=new_id("ext", at=at)) for at in times
        ]

    def bare(self, count: int) -> list[bytes]:
        """The same bytes to an application that only reads them."""
        return self.token(self.jobs("useapi", count))

    def token(self, jobs: Sequence[BenchJob]) -> list[bytes]:
        """A success from useapi.net about each job, proved by the token in its path."""
        return [_request(_reply_path(job), _useapi_body(job)) for job in jobs]

    def fal(self, jobs: Sequence[BenchJob]) -> list[bytes]:
        """A success from fal about each job, signed now."""
        return [self._fal(job) for job in jobs]

    def handwritten(self, count: int) -> list[bytes]:
        """useapi.net's successes for the application that is written by hand, with its own kind of token."""
        serializer = URLSafeSerializer(REPLY_KEY, salt="callback")
        return [
            _request(f"/callbacks/{serializer.dumps({'job': job.id})}", _useapi_body(job))
            for job in self.jobs("useapi", count)
        ]

    def fal_jwks(self) -> dict[str, Any]:
        """The key set that fal's signatures are checked with."""
        key = base64.urlsafe_b64encode(bytes(self.fal_key.verify_key)).rstrip(b"=").decode()
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": key}]}

    def _fal(self, job: BenchJob) -> bytes:
        body = json.dumps(
            {
                "request_id": job.provider_job_id,
                "gateway_request_id": job.provider_job_id,
                "status": "OK",
                "payload": {
                    "video": {
                        "url": f"https://v3.fal.media/files/lion/{job.provider_job_id}_output.mp4",
                        "content_type": "video/mp4",
                        "file_name": "output.mp4",
                        "file_size": 5_242_880,
                    }
                },
            }
        ).encode()
        timestamp = str(int(time.time()))
        parts = (job.provider_job_id, FAL_USER, timestamp, hashlib.sha256(body).hexdigest())
        headers = {
            "x-fal-webhook-request-id": job.provider_job_id,
            "x-fal-webhook-user-id": FAL_USER,
            "x-fal-webhook-timestamp": timestamp,
            "x-fal-webhook-signature": self.fal_key.sign("\n".join(parts).encode()).signature.hex(),
        }
        return _request(_reply_path(job), body, headers)


_TOKENS = TokenKeys((REPLY_KEY,))


def _reply_path(job: BenchJob) -> str:
    return f"/callbacks/{job.provider}/{_TOKENS.mint(provider=job.provider, job_id=job.id, now=datetime.now(UTC))}"


def _useapi_body(job: BenchJob) -> bytes:
    content = {
        "video_id": job.provider_job_id,
        "video_status": 1,
        "video_status_name": "COMPLETED",
        "video_status_final": True,
        "replyRef": job.id,
        "prompt": "the camera glides on over the hills, slow and steady, golden hour",
        "duration": 5,
        "quality": "540p",
        "seed": 1_234_567_890,
        "output_width": 1024,
        "output_height": 576,
        "first_frame": f"https://media.pixverse.ai/pixverse/mp4/media/web/ori/{job.provider_job_id}.jpg",
        "url": f"https://media.pixverse.ai/pixverse/mp4/media/web/ori/{job.provider_job_id}_seed1234567890.mp4",
    }
    return json.dumps(content).encode()


def _request(path: str, body: bytes, more: dict[str, str] | None = None) -> bytes:
    headers = {
        "host": "127.0.0.1",
        "user-agent": "replyhook-bench",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(more or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
