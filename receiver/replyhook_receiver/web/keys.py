"""`/v1/keys`: API keys: make, look, revoke."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.errors import UnknownKey
from replyhook_receiver.keys import USUAL, KeyRecord, NewKey, Scope, checked_key
from replyhook_receiver.stores.keys import Keys
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.deeds import tell_deed
from replyhook_receiver.web.models import read_model, told
from replyhook_receiver.web.pages import page_of
from replyhook_receiver.web.queries import KeysQuery, read_query
from replyhook_receiver.web.receiver_models import Key, KeyPage, MadeKey

_MAX_BODY_BYTES = 16 * 1024


class KeyModel(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/keys`; nothing need be said."""

    name: str | None = None
    scopes: tuple[Annotated[str, told(enum=sorted(Scope))], ...] = tuple(sorted(USUAL))
    user: str | None = None
    expires_at: Annotated[datetime, told(format="date-time")] | None = None

    def checked(self, now: datetime) -> NewKey:
        """As a value of ours. Raises ``InvalidRequest``."""
        return checked_key(scopes=self.scopes, name=self.name, user=self.user, expires_at=self.expires_at, now=now)


class KeyApi:
    """What the routes stand on."""

    def __init__(self, *, keys: Keys, now: Callable[[], datetime]) -> None:
        self._keys = keys
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""
        table: list[tuple[str, str, Any]] = [
            ("GET", "/v1/keys", self.page),
            ("POST", "/v1/keys", self.create),
            ("GET", "/v1/keys/{id}", self.show),
            ("DELETE", "/v1/keys/{id}", self.revoke),
        ]
        return [
            Route(path, keys.guard(endpoint), methods=[method], max_body_size=_MAX_BODY_BYTES)
            for method, path, endpoint in table
        ]

    async def page(self, request: Request) -> Response:
        """The keys, newest first, the revoked ones too."""
        asked, now = read_query(request.query_params, KeysQuery), self._now()
        found = await self._keys.list(before=asked.before, limit=asked.limit + 1)
        return answer(KeyPage, page_of(found, asked.limit, lambda each: shown_key(each, now)))

    async def create(self, request: Request) -> Response:
        """Make one. The answer holds the key, which is shown this once."""
        model, now = await read_model(request, KeyModel, empty=b"{}"), self._now()
        record, key = await self._keys.create(model.checked(now), now=now)
        tell_deed(request, thing_id=record.id, detail=f"for {', '.join(sorted(record.scopes))}")
        return answer(MadeKey, {**shown_key(record, now), "key": key}, status=201)

    async def show(self, request: Request) -> Response:
        """One."""
        key_id = request.path_params["id"]
        record = await self._keys.get(key_id)
        if record is None:
            raise UnknownKey(f"there is no key {key_id[:64]}")
        return answer(Key, shown_key(record, self._now()))

    async def revoke(self, request: Request) -> Response:
        """Let it open nothing from now on."""
        await self._keys.revoke(request.path_params["id"], now=self._now())
        return Response(status_code=204)


def shown_key(record: KeyRecord, now: datetime) -> dict[str, Any]:
    """A key as people and programs are told of it."""
    return {
        "id": record.id,
        "starts_with": record.starts_with,
        "name": record.name,
        "scopes": sorted(record.scopes),
        "user": record.user,
        "state": "revoked" if record.revoked_at else "valid" if record.is_valid(now) else "expired",
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
        "revoked_at": record.revoked_at,
    }
