"""Looking into what happened: callbacks, events, one job's timeline, whose a name is; and replaying a callback."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import InvalidRequest
from replyhook.providers import CallbackKind, Provider
from replyhook.tokens import TokenKeys, build_reply_url
from replyhook.urls import shown_url
from replyhook_receiver.announcements import Announcer
from replyhook_receiver.errors import UnknownCallback, UnknownJob
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.stores.replaying import Step
from replyhook_receiver.web.auth import ApiKeys, access_of
from replyhook_receiver.web.history_queries import (
    is_wanted_raw,
    read_callbacks_query,
    read_events_query,
    read_name_query,
)
from replyhook_receiver.web.models import read_model
from replyhook_receiver.web.shown_history import Shown
from replyhook_receiver.web.timeline import timeline
from replyhook_receiver.work.replaying import Replayer

_MAX_BODY_BYTES = 16 * 1024


class ReplayModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/callbacks/{id}/replay`. Without ``dry_run`` it is one: nothing is changed unless that is said."""

    what: list[str] = msgspec.field(default_factory=lambda: [Step.PARSE.value])
    dry_run: bool = True

    def checked(self) -> frozenset[Step]:
        """What is to be done. Raises ``InvalidRequest``."""
        unknown = [name for name in self.what if name not in set(Step)]
        if unknown or not self.what:
            raise InvalidRequest("what", (unknown or [""])[0][:64], f"some of {', '.join(Step)}")
        return frozenset(Step(name) for name in self.what)


class BindModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/callbacks/{id}/bind`."""

    job: str


class Inspection:
    """What the endpoints stand on. ``personal`` names the providers whose job ids hold personal details."""

    def __init__(
        self,
        *,
        store: Store,
        announcer: Announcer,
        providers: Mapping[str, Provider],
        tokens: TokenKeys,
        public_url: str,
        personal: frozenset[str],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._providers = providers
        self._tokens = tokens
        self._public_url = public_url
        self._shown = Shown(personal)
        self._replayer = Replayer(store=store, providers=providers, now=now)
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""

        async def bind(request: Request) -> Response:
            return await self.bind(request, keys)

        table: list[tuple[str, str, Any]] = [
            ("GET", "/v1/callbacks", self.callbacks),
            ("GET", "/v1/callbacks/{id}", self.callback),
            ("POST", "/v1/callbacks/{id}/replay", self.replay),
            ("POST", "/v1/callbacks/{id}/bind", bind),
            ("GET", "/v1/events", self.events),
            ("GET", "/v1/find", self.find),
            ("GET", "/v1/jobs/{id}/timeline", self.timeline),
            ("POST", "/v1/jobs/{id}/reply-url", self.reply_url),
        ]
        return [
            Route(path, keys.guard(endpoint), methods=[method], max_body_size=_MAX_BODY_BYTES)
            for method, path, endpoint in table
        ]

    async def callbacks(self, request: Request) -> Response:
        """What providers sent, newest first, with what became of it."""
        wanted, before, limit = read_callbacks_query(request.query_params)
        wanted = replace(wanted, user=access_of(request).user)
        found = await self._store.history.callbacks(wanted, before=before, limit=limit + 1)
        now = self._now()
        return _json(
            {"data": [self._shown.callback(each, now) for each in found[:limit]], "has_more": len(found) > limit}
        )

    async def callback(self, request: Request) -> Response:
        """One callback with its headers and its body."""
        is_raw = is_wanted_raw(request.query_params)
        if is_raw and access_of(request).user is not None:
            allowed = "false: what a provider says word for word may name the account of whoever runs this receiver"
            raise InvalidRequest("raw", "true", allowed)
        kept = await self._store.history.callback(request.path_params["id"])
        if kept is None:
            raise UnknownCallback(f"there is no callback {request.path_params['id'][:64]}")
        return _json(self._shown.whole(kept, self._now(), raw=is_raw))

    async def replay(self, request: Request) -> Response:
        """Take a callback once more, or say what would come of it."""
        wanted = await read_model(request, ReplayModel)
        steps = wanted.checked()
        kept = await self._store.history.callback(request.path_params["id"])
        if kept is None:
            raise UnknownCallback(f"there is no callback {request.path_params['id'][:64]}")
        reading, replayed = await self._replayer.replay(kept.callback.id, steps, keeps=not wanted.dry_run)
        return _json(self._shown.replayed(kept.callback.provider, reading, replayed, keeps=not wanted.dry_run))

    async def bind(self, request: Request, keys: ApiKeys) -> Response:
        """Say whose an orphan is."""
        wanted = await read_model(request, BindModel)
        await keys.check_own(access_of(request), Thing.JOB, wanted.job)
        job = await self._replayer.bind(request.path_params["id"], wanted.job)
        return _json(self._announcer.describe(job, self._now()))

    async def events(self, request: Request) -> Response:
        """The facts, newest first: each once, however often it was told."""
        wanted, before, limit = read_events_query(request.query_params)
        wanted = replace(wanted, user=access_of(request).user)
        found = await self._store.history.events(wanted, before=before, limit=limit + 1)
        return _json({"data": [self._shown.event(each) for each in found[:limit]], "has_more": len(found) > limit})

    async def find(self, request: Request) -> Response:
        """What is called so: a job, a callback, an event, a delivery, a reference, a provider's id."""
        found = await self._store.history.find(read_name_query(request.query_params), user=access_of(request).user)
        return _json({"data": [{"what": each.what, "id": each.id, "job_id": each.job_id} for each in found]})

    async def timeline(self, request: Request) -> Response:
        """Everything that is kept of one job, in order."""
        story = await self._store.history.story(request.path_params["id"], user=access_of(request).user)
        if story is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        now = self._now()
        job = self._announcer.describe(story.job, now)
        if job["video"]["provider_url"] is not None:
            job["video"]["provider_url"] = shown_url(job["video"]["provider_url"])
        entries = timeline(story, self._shown, now)
        return _json({"job": job, "now": now, "data": entries, "is_whole": story.is_whole})

    async def reply_url(self, request: Request) -> Response:
        """Where the provider calls back about a job: what its registration was answered with."""
        job = await self._store.job(request.path_params["id"])
        if job is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        return _json({"id": job.id, "provider": job.provider, "account": job.account, "reply_url": self._mint(job)})

    def _mint(self, job: JobRecord) -> str:
        if self._providers[job.provider].capabilities.callback is CallbackKind.ACCOUNT:
            token = self._tokens.mint_account(provider=job.provider, account=job.account)
        else:
            token = self._tokens.mint(provider=job.provider, job_id=job.id, now=job.created_at)
        return build_reply_url(self._public_url, provider=job.provider, token=token)


def _json(content: Any) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(content), media_type="application/json", headers=headers)
