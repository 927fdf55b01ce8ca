"""The sandbox's own control panel under ``/_sandbox``; no provider has anything like it."""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from replyhook_receiver.sandbox.callbacks import Attempt
from replyhook_receiver.sandbox.job import Job
from replyhook_receiver.sandbox.stage import Stage
from replyhook_receiver.sandbox.video import make_clip

SHORTEST_SOURCE_SECONDS, LONGEST_SOURCE_SECONDS = 0.5, 30.0


class Admin:
    """What was called, which jobs there are, and a source clip to start from."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._source_lock = anyio.Lock()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/calls", self._calls, methods=["GET"]),
            Route("/jobs", self._jobs, methods=["GET"]),
            Route("/source.mp4", self._source, methods=["GET"]),
        ]

    async def _calls(self, _request: Request) -> Response:
        return JSONResponse(self._stage.ledger.totals())

    async def _jobs(self, _request: Request) -> Response:
        return JSONResponse([_job(job) for job in self._stage.jobs.all()])

    async def _source(self, request: Request) -> Response:
        try:
            seconds = round(float(request.query_params.get("seconds", "2")), 1)
        except (ValueError, OverflowError):
            seconds = 0.0
        if not SHORTEST_SOURCE_SECONDS <= seconds <= LONGEST_SOURCE_SECONDS:
            wanted = f"seconds must be from {SHORTEST_SOURCE_SECONDS:g} to {LONGEST_SOURCE_SECONDS:g}"
            raise HTTPException(400, wanted)
        with_sound = request.query_params.get("audio") == "1"
        path = await self._clip(seconds, with_sound)
        return FileResponse(path, media_type="video/mp4")

    async def _clip(self, seconds: float, with_sound: bool) -> Path:
        path = self._stage.options.work_dir / f"source-{seconds:g}{'-sound' if with_sound else ''}.mp4"
        async with self._source_lock:
            if not await anyio.Path(path).exists():
                await to_thread.run_sync(partial(make_clip, path, seconds=seconds, audio=with_sound))
        return path


def _job(job: Job) -> dict[str, Any]:
    return {
        "provider": job.provider,
        "id": job.id,
        "state": job.state,
        "fault": job.fault,
        "progress": job.progress,
        "problem": job.problem_text or None,
        "created_at": job.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "callbacks": [_attempt(attempt) for attempt in job.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "kind": attempt.kind,
        "at": attempt.at.isoformat(),
        "status": attempt.status,
        "answer": attempt.answer,
        "error": attempt.error,
    }
