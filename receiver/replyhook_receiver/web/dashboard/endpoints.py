"""*Endpoints*: the places that are notified: add, look, try, rotate, disable, remove."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.notifications import NotificationType
from replyhook_receiver.endpoint_rules import APPRISE, EMAIL, WEBHOOK
from replyhook_receiver.web.dashboard.asking import ApiRefusal, ask
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.forms import Form, read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import url_of

_ONCE = ("url", "name", "channel", "user")


class EndpointPages:
    """The list with the form for a new one, and the page of one with its buttons.

    What is shown once, a secret or a test's answer, stands on the very answer to the form: it is kept nowhere, so it
    cannot wait for a next page.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The pages and forms."""
        ground, one = self._ground, "/endpoints/{id}"
        return [
            ground.page("/endpoints", "endpoints", self.page),
            ground.form("/endpoints", "add_endpoint", self.add),
            ground.page(one, "endpoint", self.show),
            ground.form(f"{one}/change", "change_endpoint", self.change),
            ground.form(f"{one}/test", "test_endpoint", self.test),
            ground.form(f"{one}/rotate-secret", "rotate_endpoint", self.rotate),
            ground.form(f"{one}/remove", "remove_endpoint", self.remove),
        ]

    async def page(self, request: Request) -> Response:
        """Those that stand, newest first; or one job's."""
        return await self._list(request, asked_for(request))

    async def add(self, request: Request) -> Response:
        """Add one: on to its page, with its secret; or back to the form, with what is wrong."""
        form = await read_form(request)
        try:
            made, refusal = await ask(request, "POST", "/v1/endpoints", body=_wanted(form)), None
        except ApiRefusal as error:
            made, refusal = None, error

        async def work() -> str:
            if refusal is not None:
                raise refusal
            return f"added, a {made['channel']} at {made['url']}"

        button = Button(action="add", thing="endpoint", thing_id=made["id"] if made else "new")
        onward = await press(
            self._ground, request, button, work, then=lambda: url_of(request, "endpoint", id=button.thing_id)
        )
        if refusal is not None:
            return await self._list(request, {}, form=form, problem=refusal)
        return await self._whole(request, made["id"], secret=made["secret"]) if made["secret"] else onward

    async def show(self, request: Request) -> Response:
        """One."""
        return await self._whole(request, request.path_params["id"])

    async def change(self, request: Request) -> Response:
        """Disable or enable it."""
        is_wanted = (await read_form(request))["enabled"] == "true"

        async def work() -> str:
            await ask(request, "PATCH", _api(request), body={"enabled": is_wanted})
            return (
                "enabled: it is notified again" if is_wanted else "disabled: what is for it waits until it is enabled"
            )

        return await self._press(request, "enable" if is_wanted else "disable", work)

    async def test(self, request: Request) -> Response:
        """Send it a test, and show what it answered."""
        answers: list[dict[str, Any]] = []

        async def work() -> str:
            answer = await ask(request, "POST", f"{_api(request)}/test")
            answers.append(answer)
            return f"tested: {answer['problem'] or 'it took it'}"

        onward = await self._press(request, "test", work)
        return await self._whole(request, request.path_params["id"], answer=answers[0]) if answers else onward

    async def rotate(self, request: Request) -> Response:
        """Give it a new secret, and show it."""
        hours = (await read_form(request)).given("overlap_hours")
        made: list[str] = []

        async def work() -> str:
            wanted = {} if hours is None else {"overlap_hours": _number(hours)}
            made.append((await ask(request, "POST", f"{_api(request)}/rotate-secret", body=wanted))["secret"])
            return "it has a new secret"

        onward = await self._press(request, "rotate secret", work)
        return await self._whole(request, request.path_params["id"], secret=made[0]) if made else onward

    async def remove(self, request: Request) -> Response:
        """Forget it."""
        gone: list[bool] = []

        async def work() -> str:
            await ask(request, "DELETE", _api(request))
            gone.append(True)
            return f"endpoint {request.path_params['id'][:64]} is removed"

        return await self._press(request, "remove", work, then=lambda: _list_or_one(request, is_gone=bool(gone)))

    async def _press(
        self,
        request: Request,
        action: str,
        work: Callable[[], Awaitable[str]],
        *,
        then: Callable[[], str] | None = None,
    ) -> Response:
        button = Button(action=action, thing="endpoint", thing_id=request.path_params["id"][:64])
        return await press(
            self._ground, request, button, work, then=then or (lambda: _list_or_one(request, is_gone=False))
        )

    async def _list(
        self, request: Request, asked: dict[str, str], *, form: Form | None = None, problem: ApiRefusal | None = None
    ) -> Response:
        found = await ask(request, "GET", "/v1/endpoints", query=asked)
        return await self._ground.pages.show(
            request,
            "endpoints.html",
            status=200 if problem is None else problem.status,
            endpoints=found["data"],
            has_more=found["has_more"],
            asked=asked,
            channels=(WEBHOOK, EMAIL, APPRISE),
            types=[kind.value for kind in NotificationType],
            given={name: form[name] if form else "" for name in _ONCE},
            ticked=form.all("types") if form else [],
            problem=None if problem is None else problem.detail,
            is_users=access_of_visit(request).user is not None,
        )

    async def _whole(
        self, request: Request, endpoint_id: str, *, secret: str | None = None, answer: dict[str, Any] | None = None
    ) -> Response:
        endpoint = await ask(request, "GET", f"/v1/endpoints/{quote(endpoint_id, safe='')}")
        is_operators = access_of_visit(request).user is None
        deeds = await self._ground.audit.of_thing(endpoint["id"]) if is_operators else []
        return await self._ground.pages.show(
            request,
            "endpoint.html",
            endpoint=endpoint,
            secret=secret,
            answer=answer,
            deeds=deeds,
            is_of_settings=endpoint["origin"] == "settings",
        )


def _api(request: Request) -> str:
    return f"/v1/endpoints/{quote(request.path_params['id'], safe='')}"


def _list_or_one(request: Request, *, is_gone: bool) -> str:
    return url_of(request, "endpoints") if is_gone else url_of(request, "endpoint", id=request.path_params["id"])


def _wanted(form: Form) -> dict[str, Any]:
    """What is filled in, as the API takes it."""
    given = {name: value for name in _ONCE if (value := form.given(name)) is not None}
    return {"url": "", **given, "types": form.all("types")}


def _number(text: str) -> float | str:
    """A number where it is one; what is none is the API's to refuse."""
    try:
        return float(text)
    except ValueError:
        return text
