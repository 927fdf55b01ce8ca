"""`/metrics` of a process, over its parts."""

from starlette.routing import Route

from replyhook_receiver.stream import Stream
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.metrics import MetricsApi
from replyhook_receiver.web.parts import Parts


def metrics_routes(parts: Parts, stream: Stream, keys: ApiKeys) -> list[Route]:
    """The route, where it is switched on. Raises ``ConfigurationError`` where what it needs is not installed."""
    if not parts.settings.metrics:
        return []
    api = MetricsApi(
        store=parts.store,
        stream=stream,
        measures=parts.measures,
        refusals=parts.refusals,
        questions=parts.questions,
        token=parts.settings.metrics_token.get_secret_value(),
        now=parts.now,
        shared=parts.settings.postgres_url is not None,
    )
    return api.routes(keys)
