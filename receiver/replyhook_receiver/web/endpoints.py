"""`/v1/endpoints`: the registered places to notify: add, look, change, try, rotate, remove."""

import base64
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.errors import ReplyhookError
from replyhook.ids import new_id
from replyhook.notifications import TEST
from replyhook.signatures import SECRET_PREFIX
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.registry import Channels
from replyhook_receiver.endpoint_rules import WEBHOOK
from replyhook_receiver.endpoints import BY_HAND, Endpoint, EndpointOrigin
from replyhook_receiver.errors import EndpointConflict, ReceiverTrouble
from replyhook_receiver.records import DeliveryRecord, DeliveryStatus, NotificationRecord, NotifyTarget
from replyhook_receiver.stores.endpoints import Endpoints
from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.web.answer_models import EndpointPage, EndpointTested, EndpointTold
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys, access_of, own_user
from replyhook_receiver.web.deeds import tell_deed
from replyhook_receiver.web.endpoint_models import (
    EndpointChangeModel,
    EndpointModel,
    RotationModel,
    shown_endpoint,
)
from replyhook_receiver.web.models import read_model, read_nothing
from replyhook_receiver.web.pages import page_of
from replyhook_receiver.web.queries import EndpointsQuery, read_query

MAX_BODY_BYTES = 64 * 1024
MOST_OF_A_USERS = 20
"""So many standing endpoints a key of one user's may let there be."""


class EndpointApi:
    """What its routes stand on."""

    def __init__(self, *, endpoints: Endpoints, channels: Channels, now: Callable[[], datetime]) -> None:
        self._endpoints = endpoints
        self._channels = channels
        self._now = now

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""

        async def list_endpoints(request: Request) -> Response:
            return await self.list(request, keys)

        table: list[tuple[str, str, Any]] = [
            ("POST", "/v1/endpoints", self.create),
            ("GET", "/v1/endpoints", list_endpoints),
            ("GET", "/v1/endpoints/{id}", self.show),
            ("PATCH", "/v1/endpoints/{id}", self.change),
            ("DELETE", "/v1/endpoints/{id}", self.remove),
            ("POST", "/v1/endpoints/{id}/test", self.test),
            ("POST", "/v1/endpoints/{id}/rotate-secret", self.rotate_secret),
        ]
        return [
            Route(path, keys.guard(endpoint), methods=[method], max_body_size=MAX_BODY_BYTES)
            for method, path, endpoint in table
        ]

    async def create(self, request: Request) -> Response:
        """Add one. The answer holds its secret, which is shown this once."""
        wanted = (await read_model(request, EndpointModel)).checked()
        access = access_of(request)
        wanted = replace(wanted, user=own_user(access, wanted.user))
        await self._check_leaves_room(access.user)
        await self._channels.check(wanted.channel, wanted.url)
        if wanted.channel == WEBHOOK and not wanted.secrets:
            wanted = replace(wanted, secrets=(_new_secret(),))
        endpoint = await self._endpoints.create(wanted, now=self._now())
        tell_deed(request, thing_id=endpoint.id)
        told = {**shown_endpoint(endpoint), "secret": next(iter(wanted.secrets), None)}
        return answer(EndpointTold, told, status=201)

    async def list(self, request: Request, keys: ApiKeys) -> Response:
        """Those that stand, newest first; or one job's."""
        asked, access = read_query(request.query_params, EndpointsQuery), access_of(request)
        user = asked.user
        if asked.job is None:
            user = own_user(access, user)
        else:
            await keys.check_own(access, Thing.JOB, asked.job)
        most = asked.limit + 1
        found = await self._endpoints.list(user=user, job_id=asked.job, before=asked.before, limit=most)
        return answer(EndpointPage, page_of(found, asked.limit, shown_endpoint))

    async def show(self, request: Request) -> Response:
        """One."""
        return answer(EndpointTold, shown_endpoint(await self._endpoints.get(request.path_params["id"])))

    async def change(self, request: Request) -> Response:
        """Change its name, types or headers; disable or enable it."""
        model = await read_model(request, EndpointChangeModel)
        change = model.checked()
        endpoint = await self._endpoints.get(request.path_params["id"])
        if (model.name, model.types, model.headers) != (None, None, None):
            _check_is_no_settings(endpoint)
            endpoint = await self._endpoints.change(endpoint.id, change)
        elif model.enabled is not None:
            tell_deed(request, action="enable" if model.enabled else "disable")
        if model.enabled is True:
            endpoint = await self._endpoints.enable(endpoint.id, now=self._now())
        elif model.enabled is False:
            endpoint = await self._endpoints.disable(endpoint.id, BY_HAND, now=self._now())
        return answer(EndpointTold, shown_endpoint(endpoint))

    async def remove(self, request: Request) -> Response:
        """Forget it."""
        endpoint = await self._endpoints.get(request.path_params["id"])
        _check_is_no_settings(endpoint)
        await self._endpoints.remove(endpoint.id, now=self._now())
        return Response(status_code=204)

    async def rotate_secret(self, request: Request) -> Response:
        """Sign with a new secret, and for a while with those before too. The answer holds it, this once."""
        rotation = await read_model(request, RotationModel, empty=b"{}")
        rotation.check()
        endpoint = await self._endpoints.get(request.path_params["id"])
        _check_is_no_settings(endpoint)
        if endpoint.channel != WEBHOOK:
            raise EndpointConflict(f"the channel {endpoint.channel} signs nothing: only webhooks have a secret")
        if not endpoint.secrets:
            raise EndpointConflict("it has no secret of its own: the receiver's notification_secrets sign for it")
        secret = rotation.secret or _new_secret()
        overlap = timedelta(hours=rotation.overlap_hours)
        endpoint = await self._endpoints.rotate(endpoint.id, secret, overlap=overlap, now=self._now())
        return answer(EndpointTold, {**shown_endpoint(endpoint), "secret": secret})

    async def test(self, request: Request) -> Response:
        """Send it a test notification now, whether it is enabled or not; what came back."""
        await read_nothing(request)
        endpoint = await self._endpoints.get(request.path_params["id"])
        delivery = _test_delivery(endpoint, self._now())
        began = time.monotonic()
        try:
            came_back = await self._channels[endpoint.channel].send(delivery, now=self._now())
            problem = None
        except (ReceiverTrouble, ReplyhookError) as error:
            told = error.answer if isinstance(error, ReceiverTrouble) else None
            came_back, problem = told or Answer(status=None), str(error)
        content = {
            "ok": problem is None,
            "endpoint": endpoint.id,
            "notification": delivery.notification.id,
            "status": came_back.status,
            "answer": came_back.text,
            "milliseconds": round((time.monotonic() - began) * 1000),
            "problem": problem,
        }
        return answer(EndpointTested, content)

    async def _check_leaves_room(self, user: str | None) -> None:
        """A user's key takes only so many of the places that all share."""
        if user is not None and len(await self._endpoints.list(user=user, limit=MOST_OF_A_USERS)) == MOST_OF_A_USERS:
            raise EndpointConflict(f"this user has {MOST_OF_A_USERS} endpoints, the most there may be: remove one")


_OF_A_JOB = ("id", "reference", "user", "provider", "provider_job_id", "status", "progress", "error", "video")
"""What every notification has in its data: a handler that looks for them finds them in a test, too, as null."""


def _test_delivery(endpoint: Endpoint, now: datetime) -> DeliveryRecord:
    about = {**dict.fromkeys(_OF_A_JOB), "endpoint": endpoint.id, "name": endpoint.name}
    body = msgspec.json.encode({"type": TEST, "timestamp": now, "data": about})
    notification = NotificationRecord(
        sequence=0, id=new_id("ntf", at=now.timestamp()), job_id=endpoint.job_id or "", type=TEST, body=body
    )
    target = NotifyTarget(
        url=endpoint.url, channel=endpoint.channel, headers=endpoint.headers, secrets=endpoint.secrets
    )
    return DeliveryRecord(
        id=new_id("dlv", at=now.timestamp()),
        notification=notification,
        channel=endpoint.channel,
        target=target,
        status=DeliveryStatus.PENDING,
    )


def _check_is_no_settings(endpoint: Endpoint) -> None:
    if endpoint.origin is EndpointOrigin.SETTINGS:
        raise EndpointConflict(f"endpoint {endpoint.id} comes from the settings: change it there and start again")


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
