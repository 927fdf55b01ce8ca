"""Stored videos over HTTP: for those with a key and by signed links; whole, in parts, or from the object store."""

import base64
import logging
import re
from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from replyhook_receiver.errors import LinkExpired, LinkUnknown, UnknownJob
from replyhook_receiver.records import AssetRecord, JobRecord
from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.base import Store
from replyhook_receiver.video_links import VideoLinks
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.problems import problem

REDIRECT_SECONDS = 300
"""How long an object store's own link works: long enough to begin; whoever needs another asks us again."""

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
_log = logging.getLogger(__name__)


class Videos:
    """What the routes stand on. With ``redirects`` an object store serves its videos itself."""

    def __init__(
        self, *, store: Store, storage: Storage, links: VideoLinks, redirects: bool, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._storage = storage
        self._links = links
        self._redirects = redirects
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """A job's video for those with a key; a signed link's for everybody."""
        return [
            Route("/v1/jobs/{id}/video", keys.guard(self.of_job), methods=["GET"]),
            Route("/videos/{token}", self.of_link, methods=["GET"]),
        ]

    async def of_job(self, request: Request) -> Response:
        """A job's stored video."""
        job = await self._store.job(request.path_params["id"])
        if job is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        return await self._answer(request, job)

    async def of_link(self, request: Request) -> Response:
        """The video of a signed link: 404 for whatever we did not sign, 410 once it has run out."""
        try:
            job = await self._store.job(self._links.job_id(request.path_params["token"], self._now()))
        except LinkExpired as error:
            return problem(410, str(error), headers={"cache-control": "no-store"})
        except LinkUnknown:
            job = None
        if job is None:
            return problem(404, "there is no video here", headers={"cache-control": "no-store"})
        return await self._answer(request, job)

    async def _answer(self, request: Request, job: JobRecord) -> Response:
        asset = job.asset
        if not asset.stored_at or asset.name is None or asset.sha256 is None or asset.bytes is None:
            return problem(404, f"job {job.id} has no stored video; its video's status is {asset.status}")
        headers = _headers(job.id, asset, asset.sha256)
        if _is_known(request, headers["etag"]):
            return Response(status_code=304, headers=headers)
        if request.method == "GET" and self._redirects:
            link = await self._storage.link(asset.name, seconds=REDIRECT_SECONDS)
            if link is not None:
                return _redirected(link, headers["repr-digest"])
        size = await self._storage.size(asset.name)
        if size != asset.bytes:
            _log.error("the stored video of %s has %s bytes instead of %d", job.id, size, asset.bytes)
            return problem(500, "the stored video is missing or damaged: our fault, not yours; it is logged")
        return self._body(request, asset.name, asset.bytes, headers)

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


def _headers(job_id: str, asset: AssetRecord, sha256: str) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    return {
        "etag": f'"{sha256}"',
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-type": asset.content_type or "application/octet-stream",
        "content-disposition": f'inline; filename="{job_id}.mp4"',
        "repr-digest": f"sha-256=:{digest}:",
        "x-content-type-options": "nosniff",
    }


def _is_known(request: Request, etag: str) -> bool:
    offered = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return etag in offered or "*" in offered


def _redirected(link: str, digest: str) -> Response:
    headers = {
        "location": link,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-target-digest": digest,  # Repr-Digest would be of this answer, and object stores send none
    }
    return Response(status_code=302, headers=headers)
