"""Looking into what happened: callbacks, events, one job's timeline, whose a name is; and replaying a callback."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

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
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.stores.history import EVERY_CALLBACK, CallbackFilter, EventRecord, ToldCallback
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.stores.replaying import Step
from replyhook_receiver.stores.windows import Listed
from replyhook_receiver.web.answer_models import Job, ReplyURL
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys, access_of, own_user
from replyhook_receiver.web.deeds import tell_deed, tell_nothing_is_done
from replyhook_receiver.web.history_models import (
    CallbackPage,
    EventPage,
    Named,
    NamedList,
    ReplayedTold,
    Timeline,
    WholeCallback,
)
from replyhook_receiver.web.history_queries import read_callbacks_query, read_events_query
from replyhook_receiver.web.models import read_model, read_nothing, told
from replyhook_receiver.web.pages import looked_for, page_of
from replyhook_receiver.web.queries import CallbackQuery, NameQuery, read_query
from replyhook_receiver.web.shown_history import Shown
from replyhook_receiver.web.timeline import timeline
from replyhook_receiver.work.replaying import Replayer

_MAX_BODY_BYTES = 16 * 1024
_MOST_NAMED = 20


class ReplayModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/callbacks/{id}/replay`. Without ``dry_run`` it is one: nothing is changed unless that is said."""

    what: Annotated[list[Annotated[str, told(enum=sorted(Step))]], told(minItems=1)] = msgspec.field(
        default_factory=lambda: [Step.PARSE.value]
    )
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
        wanted = replace(wanted, user=own_user(access_of(request), wanted.user))
        now = self._now()

        async def find(down_to: str | None, most: int) -> list[ToldCallback]:
            return await self._store.history.callbacks(wanted, before=before, down_to=down_to, limit=most)

        def show(each: ToldCallback) -> dict[str, Any]:
            return self._shown.callback(each, now)

        has_index = wanted == CallbackFilter(verdict=Verdict.UNRECOGNISED)
        if wanted.job_id is not None or wanted == EVERY_CALLBACK or has_index:
            return answer(CallbackPage, page_of(await find(None, limit + 1), limit, show))
        windows, of = self._store.windows, Listed.CALLBACKS
        return answer(CallbackPage, await looked_for(windows, of, before=before, limit=limit, find=find, show=show))

    async def callback(self, request: Request) -> Response:
        """One callback with its headers and its body."""
        is_raw = read_query(request.query_params, CallbackQuery).raw
        if is_raw and access_of(request).user is not None:
            allowed = "false: what a provider says word for word may name the account of whoever runs this receiver"
            raise InvalidRequest("raw", "true", allowed)
        kept = await self._store.history.callback(request.path_params["id"])
        if kept is None:
            raise UnknownCallback(f"there is no callback {request.path_params['id'][:64]}")
        return answer(WholeCallback, self._shown.whole(kept, self._now(), raw=is_raw))

    async def replay(self, request: Request) -> Response:
        """Take a callback once more, or say what would come of it."""
        wanted = await read_model(request, ReplayModel)
        steps = wanted.checked()
        kept = await self._store.history.callback(request.path_params["id"])
        if kept is None:
            raise UnknownCallback(f"there is no callback {request.path_params['id'][:64]}")
        if wanted.dry_run:
            tell_nothing_is_done(request)
        tell_deed(request, job_id=kept.callback.job_id, detail=", ".join(sorted(steps)))
        reading, replayed = await self._replayer.replay(kept.callback.id, steps, keeps=not wanted.dry_run)
        told = self._shown.replayed(kept.callback.provider, reading, replayed, keeps=not wanted.dry_run)
        return answer(ReplayedTold, told)

    async def bind(self, request: Request, keys: ApiKeys) -> Response:
        """Say whose an orphan is."""
        wanted = await read_model(request, BindModel)
        await keys.check_own(access_of(request), Thing.JOB, wanted.job)
        tell_deed(request, job_id=wanted.job)
        job = await self._replayer.bind(request.path_params["id"], wanted.job)
        return answer(Job, self._announcer.describe(job, self._now()))

    async def events(self, request: Request) -> Response:
        """The facts, newest first: each once, however often it was told."""
        wanted, before, limit = read_events_query(request.query_params)
        wanted = replace(wanted, user=own_user(access_of(request), wanted.user))

        async def find(down_to: str | None, most: int) -> list[EventRecord]:
            return await self._store.history.events(wanted, before=before, down_to=down_to, limit=most)

        if wanted.job_id is not None:
            return answer(EventPage, page_of(await find(None, limit + 1), limit, self._shown.event))
        # An event has the letters of the callback that brought it; in so many callbacks there may be none that is new.
        came_with = None if before is None else f"cb{before.removeprefix('evt')}"
        windows, of = self._store.windows, Listed.CALLBACKS
        page = await looked_for(windows, of, before=came_with, limit=limit, find=find, show=self._shown.event)
        if page["next"] is not None:
            page["next"] = f"evt{page['next'].removeprefix('evt').removeprefix('cb')}"
        return answer(EventPage, page)

    async def find(self, request: Request) -> Response:
        """What is called so: a job, a callback, an event, a delivery, a notification, a reference, a provider's id."""
        name = read_query(request.query_params, NameQuery).name
        found = await self._store.history.find(name, user=access_of(request).user, limit=_MOST_NAMED + 1)
        named = [Named(what=each.what, id=each.id, job_id=each.job_id) for each in found]
        return answer(NamedList, NamedList(data=named[:_MOST_NAMED], has_more=len(named) > _MOST_NAMED))

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
        return answer(Timeline, {"job": job, "now": now, "data": entries, "is_whole": story.is_whole})

    async def reply_url(self, request: Request) -> Response:
        """Where the provider calls back about a job: what its registration was answered with."""
        await read_nothing(request)
        job = await self._store.job(request.path_params["id"])
        if job is None:
            raise UnknownJob(f"there is no job {request.path_params['id'][:64]}")
        told = {"id": job.id, "provider": job.provider, "account": job.account, "reply_url": self._mint(job)}
        return answer(ReplyURL, told)

    def _mint(self, job: JobRecord) -> str:
        if self._providers[job.provider].capabilities.callback is CallbackKind.ACCOUNT:
            token = self._tokens.mint_account(provider=job.provider, account=job.account)
        else:
            token = self._tokens.mint(provider=job.provider, job_id=job.id, now=job.created_at)
        return build_reply_url(self._public_url, provider=job.provider, token=token)
