"""*Callbacks*: what providers sent; one as it came; taking it once more, and saying whose it is."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.jobs import Trust
from replyhook.providers import PROVIDERS
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.stores.replaying import Step
from replyhook_receiver.web.dashboard.asking import ask, known_job
from replyhook_receiver.web.dashboard.deeds import Button, press
from replyhook_receiver.web.dashboard.filters import asked_for
from replyhook_receiver.web.dashboard.forms import Form, read_form
from replyhook_receiver.web.dashboard.ground import Ground, access_of_visit
from replyhook_receiver.web.dashboard.pages import url_of

STEPS = {
    Step.PARSE: "Read it again",
    Step.STATE: "Apply it to its job",
    Step.DOWNLOAD: "Fetch its video",
    Step.NOTIFY: "Tell the job's endpoints again",
}
_LONGEST_BODY = 100_000


class CallbackPages:
    """The list, and the page of one with its buttons."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def routes(self) -> list[Route]:
        """The pages and forms. One callback's is not below ``/callbacks/``: there providers call."""
        ground = self._ground
        return [
            ground.page("/callbacks", "callbacks", self.page),
            ground.page("/callback/{id}", "callback", self.show),
            ground.form("/callback/{id}/replay", "replay_callback", self.replay),
            ground.form("/callback/{id}/bind", "bind_callback", self.bind),
        ]

    async def page(self, request: Request) -> Response:
        """Callbacks, newest first, of which the form's fields are true."""
        asked = asked_for(request)
        found = await ask(request, "GET", "/v1/callbacks", query=asked)
        return await self._ground.pages.show(
            request,
            "callbacks.html",
            callbacks=found["data"],
            next=found["next"],
            asked=asked,
            providers=sorted(PROVIDERS),
            verdicts=[verdict.value for verdict in Verdict],
            trusts=[trust.value for trust in Trust],
        )

    async def show(self, request: Request) -> Response:
        """One callback with what came in it."""
        return await self._whole(request, chosen=[Step.PARSE.value])

    async def replay(self, request: Request) -> Response:
        """What would come of taking it once more; and, when that was seen and is wanted, do it."""
        form = await read_form(request)
        steps = form.all("what")
        if form["confirmed"] != "yes":
            would = await self._replayed(request, steps, is_dry=True)
            return await self._whole(request, chosen=steps, would=would)

        async def work() -> str:
            return _in_words(await self._replayed(request, steps, is_dry=False))

        job_id = (await ask(request, "GET", _api(request)))["job_id"]
        button = _button(request, "replay", job_id)
        return await press(self._ground, request, button, work, then=lambda: _back(request))

    async def bind(self, request: Request) -> Response:
        """Say whose an orphan is."""
        job_id = _job_of(await read_form(request))

        async def work() -> str:
            bound = await ask(request, "POST", f"{_api(request)}/bind", body={"job": job_id})
            return f"it is of {bound['id']} now, whose status is {bound['status']}"

        button = _button(request, "bind", await known_job(request, job_id))
        return await press(self._ground, request, button, work, then=lambda: _back(request))

    async def _replayed(self, request: Request, steps: list[str], *, is_dry: bool) -> dict[str, Any]:
        wanted = {"what": steps, "dry_run": is_dry}
        replayed: dict[str, Any] = await ask(request, "POST", f"{_api(request)}/replay", body=wanted)
        return replayed

    async def _whole(self, request: Request, *, chosen: list[str], would: dict[str, Any] | None = None) -> Response:
        is_operators = access_of_visit(request).user is None
        is_raw = is_operators and request.query_params.get("raw") == "true"
        callback = await ask(request, "GET", _api(request), query={"raw": "true"} if is_raw else None)
        is_cut = len(callback["body"] or "") > _LONGEST_BODY
        body = callback["body"][:_LONGEST_BODY] if is_cut else callback["body"]
        deeds = await self._ground.audit.of_thing(callback["id"]) if is_operators else []
        return await self._ground.pages.show(
            request,
            "callback.html",
            callback={**callback, "body": body, "cut": is_cut},
            is_raw=is_raw,
            may_be_raw=is_operators,
            steps={step.value: words for step, words in STEPS.items()},
            chosen=chosen,
            would=would,
            deeds=deeds,
        )


def _api(request: Request) -> str:
    return f"/v1/callbacks/{quote(request.path_params['id'], safe='')}"


def _back(request: Request) -> str:
    return url_of(request, "callback", id=request.path_params["id"])


def _button(request: Request, action: str, job_id: str | None) -> Button:
    return Button(action=action, thing="callback", thing_id=request.path_params["id"][:64], job_id=job_id)


def _job_of(form: Form) -> str:
    return form.given("job") or ""


def _in_words(replayed: dict[str, Any]) -> str:
    """What came of it, in a sentence."""
    told = [f"taken once more: {(replayed['verdict'] or 'nobody has named its job yet').replace('_', ' ')}"]
    before, after = replayed["before"], replayed["after"]
    if before is not None and after is not None and before != after:
        told.append(f"the job was {before['status']} and is {after['status']}")
    if replayed["deliveries"]:
        told.append(f"{replayed['deliveries']} deliveries are due")
    return "; ".join(told)
