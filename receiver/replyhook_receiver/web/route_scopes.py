"""Which route needs which scope, and what of it a key of one user's may see. The one table of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from replyhook_receiver.keys import Scope
from replyhook_receiver.stores.owners import Thing


class Within(Enum):
    """How far a route is open to a key that is for one user's things."""

    NARROWED = "only what is the user's"
    """The route itself takes and tells only what is the user's; ``own_user`` says whose."""
    NOTHING = "no"
    """It is about the receiver as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a route asks of a key. With a ``Thing``, its ``{id}`` must be the user's; else there is no such thing."""

    scope: Scope
    user: Within | Thing


_READ, _SUBMIT, _OPERATE, _ADMIN = Scope.READ, Scope.SUBMIT, Scope.OPERATE, Scope.ADMIN
_TABLE: tuple[tuple[str, Scope, Within | Thing], ...] = (
    ("GET /v1/jobs", _READ, Within.NARROWED),
    ("POST /v1/jobs", _SUBMIT, Within.NARROWED),
    ("PUT /v1/jobs/{id}", _SUBMIT, Thing.NEW_JOB),
    ("GET /v1/jobs/{id}", _READ, Thing.JOB),
    ("POST /v1/jobs/{id}/submission", _SUBMIT, Thing.JOB),
    ("POST /v1/jobs/{id}/cancel", _SUBMIT, Thing.JOB),
    ("GET /v1/jobs/{id}/timeline", _READ, Thing.JOB),
    ("POST /v1/jobs/{id}/reply-url", _OPERATE, Thing.JOB),
    ("POST /v1/jobs/{id}/retry", _OPERATE, Thing.JOB),
    ("POST /v1/jobs/{id}/reconcile", _OPERATE, Thing.JOB),
    ("GET /v1/jobs/{id}/video", _READ, Thing.JOB),
    ("GET /v1/jobs/{id}/poster", _READ, Thing.JOB),
    ("GET /v1/stream", _READ, Within.NARROWED),
    ("POST /v1/stream/links", _READ, Within.NARROWED),
    ("GET /v1/callbacks", _READ, Within.NARROWED),
    ("GET /v1/callbacks/{id}", _READ, Thing.CALLBACK),
    ("POST /v1/callbacks/{id}/replay", _OPERATE, Thing.CALLBACK),
    ("POST /v1/callbacks/{id}/bind", _OPERATE, Thing.CALLBACK),
    ("GET /v1/events", _READ, Within.NARROWED),
    ("GET /v1/find", _READ, Within.NARROWED),
    ("GET /v1/endpoints", _READ, Within.NARROWED),
    ("POST /v1/endpoints", _OPERATE, Within.NARROWED),
    ("GET /v1/endpoints/{id}", _READ, Thing.ENDPOINT),
    ("PATCH /v1/endpoints/{id}", _OPERATE, Thing.ENDPOINT),
    ("DELETE /v1/endpoints/{id}", _OPERATE, Thing.ENDPOINT),
    ("POST /v1/endpoints/{id}/test", _OPERATE, Thing.ENDPOINT),
    ("POST /v1/endpoints/{id}/rotate-secret", _OPERATE, Thing.ENDPOINT),
    ("GET /v1/deliveries", _READ, Within.NARROWED),
    ("POST /v1/deliveries/retry", _OPERATE, Within.NARROWED),
    ("GET /v1/deliveries/{id}", _READ, Thing.DELIVERY),
    ("POST /v1/deliveries/{id}/retry", _OPERATE, Thing.DELIVERY),
    ("GET /v1/refusals", _READ, Within.NOTHING),
    ("GET /v1/questions", _READ, Within.NOTHING),
    ("GET /v1/downloads", _READ, Within.NOTHING),
    ("GET /v1/hold", _READ, Within.NOTHING),
    ("PUT /v1/hold", _OPERATE, Within.NOTHING),
    ("DELETE /v1/hold", _OPERATE, Within.NOTHING),
    ("GET /v1/providers", _READ, Within.NOTHING),
    ("POST /v1/providers/{name}/reply-url", _OPERATE, Within.NOTHING),
    ("GET /v1/settings", _OPERATE, Within.NOTHING),
    ("GET /metrics", _READ, Within.NOTHING),
    ("GET /v1/keys", _ADMIN, Within.NOTHING),
    ("POST /v1/keys", _ADMIN, Within.NOTHING),
    ("GET /v1/keys/{id}", _ADMIN, Within.NOTHING),
    ("DELETE /v1/keys/{id}", _ADMIN, Within.NOTHING),
)
RULES: Mapping[str, Rule] = {route: Rule(scope=scope, user=user) for route, scope, user in _TABLE}

PAGES: Mapping[str, str] = {
    "GET /": "GET /v1/jobs",
    "GET /live": "GET /v1/stream",
    "GET /jobs": "GET /v1/jobs",
    "GET /jobs/{id}": "GET /v1/jobs/{id}/timeline",
    "GET /jobs/{id}/video": "GET /v1/jobs/{id}/video",
    "GET /jobs/{id}/poster": "GET /v1/jobs/{id}/poster",
    "POST /jobs/{id}/retry": "POST /v1/jobs/{id}/retry",
    "POST /jobs/{id}/reconcile": "POST /v1/jobs/{id}/reconcile",
    "POST /jobs/{id}/replay": "POST /v1/jobs/{id}/retry",
    "POST /jobs/{id}/notify": "POST /v1/jobs/{id}/retry",
    "POST /jobs/{id}/cancel": "POST /v1/jobs/{id}/cancel",
    "GET /search": "GET /v1/find",
    "GET /callbacks": "GET /v1/callbacks",
    "GET /callback/{id}": "GET /v1/callbacks/{id}",
    "POST /callback/{id}/replay": "POST /v1/callbacks/{id}/replay",
    "POST /callback/{id}/bind": "POST /v1/callbacks/{id}/bind",
    "GET /deliveries": "GET /v1/deliveries",
    "GET /deliveries/{id}": "GET /v1/deliveries/{id}",
    "POST /deliveries/retry": "POST /v1/deliveries/retry",
    "POST /deliveries/{id}/retry": "POST /v1/deliveries/{id}/retry",
    "GET /endpoints": "GET /v1/endpoints",
    "POST /endpoints": "POST /v1/endpoints",
    "GET /endpoints/{id}": "GET /v1/endpoints/{id}",
    "POST /endpoints/{id}/change": "PATCH /v1/endpoints/{id}",
    "POST /endpoints/{id}/remove": "DELETE /v1/endpoints/{id}",
    "POST /endpoints/{id}/test": "POST /v1/endpoints/{id}/test",
    "POST /endpoints/{id}/rotate-secret": "POST /v1/endpoints/{id}/rotate-secret",
    "GET /providers": "GET /v1/providers",
    "GET /settings": "GET /v1/hold",
    "POST /settings/hold": "PUT /v1/hold",
    "POST /settings/go-on": "DELETE /v1/hold",
    "POST /settings/keys/{id}/revoke": "DELETE /v1/keys/{id}",
}
"""The dashboard's pages and forms, each under the rule of the route of the API that tells or does the same."""


def rule_of(method: str, template: str) -> Rule | None:
    """The rule of a route, by its method and its path's template; None where there is none: then nobody may."""
    route = f"{'GET' if method == 'HEAD' else method} {template}"
    return RULES.get(PAGES.get(route, route))


def rules_table() -> str:
    """The table as Markdown, for the README."""
    lines = ["| route | scope | with a user's key |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{route}` | `{rule.scope}` | {_words(rule.user)} |" for route, rule in RULES.items())]
    )


def _words(user: Within | Thing) -> str:
    if isinstance(user, Within):
        return user.value
    return "a new job, or the user's" if user is Thing.NEW_JOB else f"the user's {user.value}"
