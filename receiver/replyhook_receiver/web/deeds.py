"""What is done by hand over the API is noted, in the words in which the dashboard notes its buttons."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.keys import name_of
from replyhook_receiver.stores.audit import Audit, Deed
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.web.auth import Endpoint, access_of, is_given_access
from replyhook_receiver.web.problems import answer_to

CONFLICT = 409
LONGEST_DETAIL = 500
_LONGEST_ID = 200
_DOING = "replyhook.doing"
_log = logging.getLogger(__name__)

DEEDS: Mapping[str, tuple[str, str, str]] = {
    "POST /v1/jobs/{id}/cancel": ("cancel", "job", ""),
    "POST /v1/jobs/{id}/retry": ("retry", "job", ""),
    "POST /v1/jobs/{id}/reconcile": ("reconcile", "job", ""),
    "POST /v1/callbacks/{id}/replay": ("replay", "callback", ""),
    "POST /v1/callbacks/{id}/bind": ("bind", "callback", ""),
    "POST /v1/endpoints": ("add", "endpoint", "new"),
    "PATCH /v1/endpoints/{id}": ("change", "endpoint", ""),
    "DELETE /v1/endpoints/{id}": ("remove", "endpoint", ""),
    "POST /v1/endpoints/{id}/test": ("test", "endpoint", ""),
    "POST /v1/endpoints/{id}/rotate-secret": ("rotate secret", "endpoint", ""),
    "POST /v1/deliveries/retry": ("retry", "deliveries", "all"),
    "POST /v1/deliveries/{id}/retry": ("retry", "delivery", ""),
    "PUT /v1/hold": ("hold", "receiver", "work"),
    "DELETE /v1/hold": ("go on", "receiver", "work"),
    "POST /v1/keys": ("make", "key", "new"),
    "DELETE /v1/keys/{id}": ("revoke", "key", ""),
}
"""Which routes do something that an operator may ask about later: the action, the thing, and its id where the path has
none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doing:
    """What a request is about to do. ``is_real``: not a question what would come of it."""

    action: str
    thing: str
    thing_id: str
    job_id: str | None
    detail: str = ""
    is_real: bool = True


class Deeds:
    """Notes what the routes of ``DEEDS`` do: what was done, failed by our fault, or could not be as things stand.

    A request that asks for the impossible, or for nothing there is, has done nothing, and is noted nowhere.
    """

    def __init__(self, audit: Audit, keys: Keys, *, now: Callable[[], datetime]) -> None:
        self._audit = audit
        self._keys = keys
        self._now = now

    def noted(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint``, and a note of what it did. A page of ours that asks it notes that itself."""

        async def noted(request: Request) -> Response:
            doing = None if is_given_access(request) else _doing_of(request)
            if doing is None:
                return await endpoint(request)
            request.scope[_DOING] = doing
            try:
                response = await endpoint(request)
            except Exception as error:
                await self._note_trouble(request, error)
                raise
            await self._note(request, "done")
            return response

        return noted

    async def _note_trouble(self, request: Request, error: Exception) -> None:
        refusal = await answer_to(request, error)
        if refusal is None:
            await self._note(request, "failed", type(error).__name__)
        elif refusal.status_code == CONFLICT:
            await self._note(request, "refused", str(error))

    async def _note(self, request: Request, outcome: str, why: str = "") -> None:
        doing: _Doing = request.scope[_DOING]
        if not doing.is_real:
            return
        access = access_of(request)
        detail = "; ".join(part for part in ("over the API", doing.detail, why) if part)
        try:
            deed = Deed(
                key_id=access.key_id,
                key_name=name_of(await self._keys.get(access.key_id)),
                user=access.user,
                action=doing.action,
                thing=doing.thing,
                thing_id=doing.thing_id[:_LONGEST_ID],
                job_id=doing.job_id,
                outcome=outcome,
                detail=detail[:LONGEST_DETAIL],
            )
            await self._audit.note(deed, now=self._now())
        except StoreUnavailable as error:
            # It is done all the same, and its answer may hold what is told this once.
            _log.warning("%s of a %s could not be noted: %s", doing.action, doing.thing, error)


def tell_deed(
    request: Request,
    *,
    action: str | None = None,
    thing_id: str | None = None,
    job_id: str | None = None,
    detail: str | None = None,
) -> None:
    """What only the route itself knows of what it does."""
    given = {"action": action, "thing_id": thing_id, "job_id": job_id, "detail": detail}
    _change(request, **{name: value for name, value in given.items() if value is not None})


def tell_nothing_is_done(request: Request) -> None:
    """The request only asks what would come of it."""
    _change(request, is_real=False)


def _change(request: Request, **values: str | bool) -> None:
    doing: _Doing | None = request.scope.get(_DOING)
    if doing is not None:
        request.scope[_DOING] = replace(doing, **values)  # type: ignore[arg-type] # each of its own field's type


def _doing_of(request: Request) -> _Doing | None:
    route = request.scope.get("route")
    known = DEEDS.get(f"{request.method} {route.path}") if isinstance(route, Route) else None
    if known is None:
        return None
    action, thing, ident = known
    ident = request.path_params.get("id", ident)
    return _Doing(action=action, thing=thing, thing_id=ident, job_id=ident if thing == "job" else None)
