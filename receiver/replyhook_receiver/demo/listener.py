"""A user's own webhook endpoint: verifies every notification as the README tells users to."""

import asyncio
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook.errors import ReplyhookError
from replyhook.notifications import Notification, NotificationType, verify_notification


class Listener:
    """Receives notifications. ``answer`` is the status it answers with: anything but 2xx refuses them."""

    def __init__(self, *, secrets: tuple[str, ...], answer: int = 200) -> None:
        self._secrets = secrets
        self._answer = answer
        self._received: list[tuple[datetime, Notification]] = []
        self._changed = asyncio.Event()
        self.unverified = 0
        self.turned_away = 0

    def app(self) -> Starlette:
        """The application to serve."""
        return Starlette(routes=[Route("/hooks", self._take, methods=["POST"], max_body_size=1024 * 1024)])

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        try:
            notification = verify_notification(dict(request.headers), body, self._secrets)
        except ReplyhookError:
            self.unverified += 1
            return PlainTextResponse("not verified", status_code=401)
        if not 200 <= self._answer < 300:
            self.turned_away += 1
            return PlainTextResponse("refused", status_code=self._answer)
        self._received.append((datetime.now(UTC), notification))
        self._changed.set()
        return PlainTextResponse("ok", status_code=self._answer)

    def stored(self, job_id: str) -> list[datetime]:
        """When the distinct ``video.stored`` notifications of a job came."""
        found: dict[str, datetime] = {}
        for at, notification in self._received:
            if notification.type == NotificationType.VIDEO_STORED and notification.data.get("id") == job_id:
                found.setdefault(notification.id, at)
        return list(found.values())

    async def wait_for_stored(self, job_id: str, *, seconds: float) -> datetime | None:
        """When a job's ``video.stored`` came; None when it did not come in time."""
        try:
            async with asyncio.timeout(seconds):
                while not self.stored(job_id):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return self.stored(job_id)[0]
