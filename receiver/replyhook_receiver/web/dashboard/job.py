"""*Job*: all that is known of one, in order; its video; and what can be done about it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.storage.base import Storage
from replyhook_receiver.stores.base import Store
from replyhook_receiver.web.dashboard.asking import ApiRefusal, ask, passed_on
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.forms import read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import url_of
from replyhook_receiver.web.route_scopes import rule_of
from replyhook_receiver.work.download import name_of

MOST_BODIES = 8
"""Callbacks whose headers and bodies stand on the page, and deliveries whose tries do: the newest."""
_LONGEST_BODY = 20_000
_ENDED = ("succeeded", "failed", "canceled")
_COMING = ("pending", "downloading")


class JobPage:
    """The page of one job, its video, and its buttons."""

    def __init__(self, ground: Ground, *, store: Store, storage: Storage) -> None:
        self._ground = ground
        self._store = store
        self._storage = storage

    def routes(self) -> list[Route]:
        """The page and its forms."""
        ground, job = self._ground, "/jobs/{id}"
        forms = [
            ground.form(f"{job}/retry", "retry_job", self.retry),
            ground.form(f"{job}/reconcile", "reconcile_job", self.reconcile),
            ground.form(f"{job}/cancel", "cancel_job", self.cancel),
            ground.form(f"{job}/replay", "replay_for_job", self.replay),
            ground.form(f"{job}/notify", "notify_for_job", self.notify),
        ]
        return [
            ground.page(job, "job", self.show),
            ground.page(f"{job}/video", "video", self.video),
            ground.page(f"{job}/poster", "poster", self.poster),
            *(form for form in forms if rule_of("POST", form.path) is not None),
        ]

    async def show(self, request: Request) -> Response:
        """The page."""
        job_id, user = request.path_params["id"], access_of_visit(request).user
        told = await ask(request, "GET", f"/v1/jobs/{job_id}/timeline")
        job, entries = told["job"], _waiting(told["data"], told["now"])
        deeds = await self._store.audit.of_job(job_id)
        return await self._ground.pages.show(
            request,
            "job.html",
            job=job,
            entries=entries,
            waits_until=next((each["waits_until"] for each in entries if each.get("task") == "download"), None),
            is_whole=told["is_whole"],
            callbacks=await _whole_callbacks(request, told["data"]),
            tries=await _tries(request, told["data"]),
            has_ended=job["status"] in _ENDED,
            is_coming=job["video"]["status"] in _COMING,
            so_far=await self._so_far(job_id) if job["video"]["status"] in _COMING else None,
            dead=[entry for entry in told["data"] if entry["kind"] == "delivery" and entry["status"] == "dead"],
            # Whoever runs the receiver is not named to a user.
            deeds=[each for each in deeds if user is None or each.deed.user == user],
        )

    async def video(self, request: Request) -> Response:
        """The stored video, in parts where the player asks for them."""
        return passed_on(request, f"/v1/jobs/{request.path_params['id']}/video")

    async def poster(self, request: Request) -> Response:
        """Its first picture."""
        return passed_on(request, f"/v1/jobs/{request.path_params['id']}/poster")

    async def retry(self, request: Request) -> Response:
        """Put back what was given up."""

        async def work() -> str:
            done = await ask(request, "POST", f"/v1/jobs/{request.path_params['id']}/retry")
            return f"put back: {', '.join(word.replace('_', ' ') for word in done['retried'])}"

        return await self._press(request, "retry", work)

    async def reconcile(self, request: Request) -> Response:
        """Ask the provider now."""

        async def work() -> str:
            await ask(request, "POST", f"/v1/jobs/{request.path_params['id']}/reconcile")
            return "the provider is asked now; what it says appears below"

        return await self._press(request, "reconcile", work)

    async def cancel(self, request: Request) -> Response:
        """Cancel it, here or at its provider's."""

        async def work() -> str:
            await ask(request, "POST", f"/v1/jobs/{request.path_params['id']}/cancel")
            return "it is to be canceled; what came of that appears below"

        return await self._press(request, "cancel", work)

    async def replay(self, request: Request) -> Response:
        """Take one of its callbacks once more: read it, apply it, fetch its video; endpoints hear nothing of it."""
        callback_id = (await read_form(request))["callback"]
        wanted = {"what": ["parse", "state", "download"], "dry_run": False}

        async def work() -> str:
            done = await ask(request, "POST", f"/v1/callbacks/{_one_word(callback_id)}/replay", body=wanted)
            return _replayed(done)

        button = Button(action="replay", thing="callback", thing_id=callback_id[:64], job_id=request.path_params["id"])
        return await press(self._ground, request, button, work, then=lambda: self._back(request))

    async def notify(self, request: Request) -> Response:
        """Put its dead letters back."""
        wanted = {"job": request.path_params["id"], "status": "dead"}

        async def work() -> str:
            done = await ask(request, "POST", "/v1/deliveries/retry", body=wanted)
            nowhere = f"; {done['skipped']} lead nowhere, since their endpoints were removed or are gone"
            return f"put back: {done['retried']}{nowhere if done['skipped'] else ''}"

        return await self._press(request, "retry deliveries", work)

    async def _press(self, request: Request, action: str, work: Any) -> Response:
        job_id = request.path_params["id"]
        button = Button(action=action, thing="job", thing_id=job_id, job_id=job_id)
        return await press(self._ground, request, button, work, then=lambda: self._back(request))

    def _back(self, request: Request) -> str:
        return url_of(request, "job", id=request.path_params["id"])

    async def _so_far(self, job_id: str) -> int | None:
        """How much of its video is on this machine already; None where nothing is, or another machine fetches it."""
        job = await self._store.job(job_id)
        return None if job is None else self._storage.so_far(name_of(job))


def _waiting(entries: Sequence[dict[str, Any]], now: str) -> list[dict[str, Any]]:
    """The entries; of work it is said until when it waits, where its time has not come."""
    at = datetime.fromisoformat(now)
    return [
        {**entry, "waits_until": entry["due_at"] if _is_later(entry, at) else None}
        if entry["kind"] == "task"
        else entry
        for entry in entries
    ]


def _is_later(entry: dict[str, Any], now: datetime) -> bool:
    is_ready = entry["state"] == "ready" and entry["due_at"] is not None
    return is_ready and datetime.fromisoformat(entry["due_at"]) > now


async def _whole_callbacks(request: Request, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The newest callbacks with what came in them, by id."""
    newest = [entry["id"] for entry in entries if entry["kind"] == "callback"][-MOST_BODIES:]
    found = {}
    for callback_id in newest:
        try:
            whole = await ask(request, "GET", f"/v1/callbacks/{callback_id}")
        except ApiRefusal:
            continue  # gone since the list was made
        found[callback_id] = {**whole, "cut": len(whole["body"]) > _LONGEST_BODY, "body": whole["body"][:_LONGEST_BODY]}
    return found


async def _tries(request: Request, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The newest deliveries' tries, by their ids."""
    newest = [entry["id"] for entry in entries if entry["kind"] == "delivery" and entry["attempts"]][-MOST_BODIES:]
    found = {}
    for delivery_id in newest:
        try:
            found[delivery_id] = (await ask(request, "GET", f"/v1/deliveries/{delivery_id}"))["attempts"]
        except ApiRefusal:
            continue
    return found


def _replayed(done: dict[str, Any]) -> str:
    read = done["read"]["problem"]
    if read:
        return f"replayed, but it still cannot be read: {read}"
    after = done["after"] or {}
    words = f"replayed: the job is {after.get('status', 'not known')}, its video {after.get('video', 'not known')}"
    return f"{words}; the download: {done['download']}" if done["download"] else words


def _one_word(ident: str) -> str:
    """An id from a form, as it may stand in a path."""
    return ident if ident.replace("_", "").isalnum() and len(ident) <= 64 else "none"
