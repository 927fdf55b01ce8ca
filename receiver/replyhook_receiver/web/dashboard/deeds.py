"""Doing what a button says: done, noted in the audit with its outcome, and told on the next page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from replyhook_receiver.stores.audit import Deed
from replyhook_receiver.web.dashboard.asking import ApiRefusal
from replyhook_receiver.web.dashboard.ground import Ground
from replyhook_receiver.web.dashboard.visits import visit_of
from replyhook_receiver.web.deeds import LONGEST_DETAIL

HTTP_FAULT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """What a form does: ``action`` (replay, retry, cancel …) to a ``thing`` (job, callback …) with that id."""

    action: str
    thing: str
    thing_id: str
    job_id: str | None = None


async def press(
    ground: Ground, request: Request, button: Button, work: Callable[[], Awaitable[str]], *, then: Callable[[], str]
) -> Response:
    """Do ``work``, which says in a sentence what came of it; note it, and go on to the path that ``then`` gives.

    What the API refuses is noted and told as well; a fault of ours is noted and raised.
    """
    try:
        said, is_good = await work(), True
    except Exception as error:
        if not isinstance(error, ApiRefusal) or error.status >= HTTP_FAULT:
            await _note(ground, request, button, "failed", type(error).__name__)
            raise
        said, is_good = error.detail, False
    await _note(ground, request, button, "done" if is_good else "refused", said)
    response = Response(status_code=303, headers={"location": then(), "cache-control": "no-store"})
    ground.pages.flashes.set(request, response, said, is_good=is_good)
    return response


async def _note(ground: Ground, request: Request, button: Button, outcome: str, detail: str) -> None:
    visit = visit_of(request)
    if visit is None:
        raise AssertionError("a button was pressed by nobody")
    deed = Deed(
        key_id=visit.access.key_id,
        key_name=visit.name,
        user=visit.access.user,
        action=button.action,
        thing=button.thing,
        thing_id=button.thing_id,
        job_id=button.job_id,
        outcome=outcome,
        detail=detail[:LONGEST_DETAIL],
    )
    await ground.audit.note(deed, now=ground.now())
