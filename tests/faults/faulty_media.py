"""A media host with a file for each job, and links that are cut anywhere, deaf to Range, or refused at first."""

import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from replyhook.ids import new_id
from tests.faults.providers import Report
from tests.receiver.support import Host, pause

_PIECE = 16 * 1024
_SIZE = 300_000


@dataclass
class FaultyMedia:
    """The files, and what was asked of them. ``calm`` ends the faults that are left to chance."""

    host: Host
    clip: bytes
    calm: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    def a_job(self) -> Report:
        """A job that has succeeded, as its provider tells it. Every third one has a link that is refused."""
        job = new_id("job")
        noise = hashlib.shake_256(job.encode()).digest(_SIZE)
        self.files[job] = self.clip + (len(noise) + 8).to_bytes(4, "big") + b"free" + noise
        told = "expired" if len(self.files) % 3 == 0 else "good"
        link = self.host.will(f"/media/{job}.mp4", self._serve(job))
        fresh = {"video_id": f"v-{job}", "video_status_name": "COMPLETED", "url": f"{link}?signature=good"}
        self.host.will(f"/useapi/videos/v-{job}", self._tell(fresh))
        return Report(job=job, provider="useapi", status="succeeded", link=f"{link}?signature={told}")

    @property
    def sha256(self) -> dict[str, str]:
        """By job, what its video must be."""
        return {job: hashlib.sha256(content).hexdigest() for job, content in self.files.items()}

    def _tell(self, content: dict[str, Any]):  # type: ignore[no-untyped-def] # an Answer
        async def answer(_: Request) -> Response:
            self.answers["asked for a fresh link"] += 1
            return JSONResponse(content)

        return answer

    def _serve(self, job: str):  # type: ignore[no-untyped-def] # an Answer
        content, etag = self.files[job], f'"{job}"'

        async def answer(request: Request) -> Response:
            if request.query_params.get("signature") != "good":
                self.answers["refused"] += 1
                return PlainTextResponse("AccessDenied: Request has expired", 403)
            start = 0
            asked = request.headers.get("range")
            if asked and request.headers.get("if-range") == etag and not self._happens("range ignored", 0.15):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return Response(status_code=416, headers={"content-range": f"bytes */{len(content)}"})
            self.answers["resumed" if start else "from the start"] += 1
            rest = content[start:]
            end = random.randrange(len(rest)) if self._happens("cut", 0.4) else len(rest)
            headers = {"etag": etag, "content-length": str(len(rest))}
            if start:
                headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return StreamingResponse(_slowly(request, rest, end), status_code=206 if start else 200, headers=headers)

        return answer

    def _happens(self, fault: str, share: float) -> bool:
        happens = not self.calm and random.random() < share
        self.answers[fault] += happens
        return happens


async def _slowly(request: Request, content: bytes, end: int) -> AsyncIterator[bytes]:
    for place in range(0, end, _PIECE):
        yield content[place : min(place + _PIECE, end)]
        await pause(request, random.uniform(0, 0.03))
    if end < len(content):
        raise ConnectionResetError("cut off, as was asked for")
