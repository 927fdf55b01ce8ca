"""Stored videos and posters over HTTP: with a key or by signed links; whole, in parts, or from the object store."""

import base64
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replyhook.jobs import AssetStatus, JobStatus
from replyhook_receiver.errors import LinkExpired, LinkUnknown, UnknownJob
from replyhook_receiver.records import JobRecord
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.base import Store
from replyhook_receiver.video_links import VideoLinks
from replyhook_receiver.web.auth import ApiKeys, Endpoint
from replyhook_receiver.web.problems import problem

REDIRECT_SECONDS = 300
"""How long an object store's own link works: long enough to begin; whoever needs another asks us again."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
_log = logging.getLogger(__name__)
_NO_STORE = {"cache-control": "no-store"}
_NOT_YET_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is in storage and may be asked for. ``digest`` as in ``Repr-Digest``; ``bytes``: where it is known."""

    name: str
    file_name: str
    content_type: str
    etag: str
    bytes: int | None = None
    digest: str | None = None


Find = Callable[[JobRecord], Awaitable[Kept | None]]


class Videos:
    """What the routes stand on. With ``redirects`` an object store serves its videos itself; what is not found in a
    ``folder_to_share`` may lie in another process's."""

    def __init__(
        self,
        *,
        store: Store,
        storage: Storage,
        links: VideoLinks,
        redirects: bool,
        now: Callable[[], datetime],
        folder_to_share: Path | None = None,
    ) -> None:
        self._store = store
        self._storage = storage
        self._links = links
        self._redirects = redirects
        self._now = now
        self._folder_to_share = folder_to_share

    def routes(self, keys: ApiKeys) -> list[Route]:
        """A job's video and its poster, for those with a key; by a signed link for everybody."""
        table: list[tuple[str, Endpoint]] = [
            ("/v1/jobs/{id}/video", keys.guard(self._with_job(self._video))),
            ("/v1/jobs/{id}/poster", keys.guard(self._with_job(self._poster))),
            ("/videos/{token}", self._with_link(self._video)),
            ("/videos/{token}/poster", self._with_link(self._poster)),
        ]
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in table]

    def _with_job(self, find: Find) -> Endpoint:
        async def answer(request: Request) -> Response:
            job = await self._store.job(request.path_params["id"])
            if job is None:
                raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
            return await self._answer(request, job, await find(job))

        return answer

    def _with_link(self, find: Find) -> Endpoint:
        """404 for whatever we did not sign, 410 once it has run out."""

        async def answer(request: Request) -> Response:
            try:
                job = await self._store.job(self._links.job_id(request.path_params["token"], self._now()))
            except LinkExpired as error:
                return problem(410, str(error), headers={"cache-control": "no-store"})
            except LinkUnknown:
                job = None
            if job is None:
                return problem(404, "there is no video here", headers={"cache-control": "no-store"})
            return await self._answer(request, job, await find(job))

        return answer

    async def _video(self, job: JobRecord) -> Kept | None:
        asset = job.asset
        if not asset.stored_at or asset.name is None or asset.sha256 is None:
            return None
        return Kept(
            name=asset.name,
            file_name=f"{job.id}.mp4",
            content_type=asset.content_type or "application/octet-stream",
            etag=f'"{asset.sha256}"',
            bytes=asset.bytes,
            digest=f"sha-256=:{base64.b64encode(bytes.fromhex(asset.sha256)).decode()}:",
        )

    async def _poster(self, job: JobRecord) -> Kept | None:
        name = await self._store.links.poster(job.id) if job.asset.stored_at else None
        if name is None:
            return None
        etag = f'"{job.asset.sha256}-poster"'  # made of the video's bytes
        return Kept(name=name, file_name=f"{job.id}.jpg", content_type="image/jpeg", etag=etag)

    async def _answer(self, request: Request, job: JobRecord, kept: Kept | None) -> Response:
        if kept is None:
            return _missing(job)
        headers = _headers(kept)
        if _is_known(request, kept.etag):
            return Response(status_code=304, headers=headers)
        if request.method == "GET" and self._redirects:
            link = await self._storage.link(kept.name, seconds=REDIRECT_SECONDS)
            if link is not None:
                return _redirected(link, kept.digest)
        size = await self._storage.size(kept.name)
        if size is None:
            return self._not_found(job)
        if size != (kept.bytes or size):
            _log.error("what is stored of %s has %s bytes instead of %s", job.id, size, kept.bytes)
            return problem(500, "what was stored is damaged: our fault, not yours; it is logged")
        return self._body(request, kept.name, size, headers)

    def _not_found(self, job: JobRecord) -> Response:
        folder = self._folder_to_share
        if folder is None:
            _log.error("what was stored of %s is not there: no file", job.id)
            return problem(500, "what was stored is missing: our fault, not yours; it is logged")
        _log.error("what was stored of %s: no file in %s. Stored by a receiver with another folder?", job.id, folder)
        why = "stored by a receiver or worker with another folder?"
        return problem(500, f"what was stored is not found here ({why}): our fault, not yours; it is logged")

    def _body(self, request: Request, name: str, size: int, headers: dict[str, str]) -> Response:
        if request.method == "HEAD":
            return Response(headers={**headers, "content-length": str(size)})
        span = None
        if request.headers.get("if-range", headers["etag"]) == headers["etag"]:
            span = span_of(request.headers.get("range", ""), size)
        start, stop = span or (0, size)
        if start >= stop:
            return problem(416, f"the video has {size} bytes", headers={"content-range": f"bytes */{size}"})
        headers = {**headers, "content-length": str(stop - start)}
        if span is not None:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        content = self._storage.read(name, start, stop)
        return StreamingResponse(content, status_code=200 if span is None else 206, headers=headers)


def _missing(job: JobRecord) -> Response:
    """Why there is nothing: it is not there yet, it never will be, or the stored video has no such thing."""
    asset = job.asset
    if asset.stored_at:
        return problem(404, f"the video of job {job.id} has no poster", video_status=asset.status, headers=_NO_STORE)
    is_lost = asset.status in (AssetStatus.FAILED, AssetStatus.EXPIRED)
    if is_lost or (asset.status is AssetStatus.NONE and job.status in (JobStatus.FAILED, JobStatus.CANCELED)):
        why = asset.problem or (job.error.message if job.error else None)
        end = f"its video is {asset.status}" if is_lost else f"the job {job.status}"
        detail = f"job {job.id} has no video and will not get one: {end}{f' ({why})' if why else ''}"
        return problem(410, detail, video_status=asset.status, headers=_NO_STORE)
    detail = f"the video of job {job.id} is not stored yet (job: {job.status}, video: {asset.status})"
    headers = {**_NO_STORE, "retry-after": str(_NOT_YET_SECONDS)}
    return problem(409, f"{detail}; wait for video.stored", video_status=asset.status, headers=headers)


def span_of(header: str, size: int) -> tuple[int, int] | None:
    """Which bytes a ``Range`` asks for: from, and up to; none where that is beyond the end.

    None, and so the whole video, for what is no range, and for more than one: no player needs several, and answering
    many is work that a stranger could make for us.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        return (max(size - int(last), 0), size) if last else None
    start, stop = int(first), min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, stop) if start < size else (size, size)


def _headers(kept: Kept) -> dict[str, str]:
    headers = {
        "etag": kept.etag,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-type": kept.content_type,
        "content-disposition": f'inline; filename="{kept.file_name}"',
        "x-content-type-options": "nosniff",
    }
    return headers | ({"repr-digest": kept.digest} if kept.digest else {})


def _is_known(request: Request, etag: str) -> bool:
    offered = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in offered or "*" in offered


def _redirected(link: str, digest: str | None) -> Response:
    headers = {"location": link, "cache-control": "no-store", "referrer-policy": "no-referrer"}
    if digest is not None:
        headers["x-target-digest"] = digest  # Repr-Digest would be of this answer, and object stores send none
    return Response(status_code=302, headers=headers)
