"""Spans of jobs' traces, by OpenTelemetry's API; needs the extra [otel]."""

from collections.abc import Mapping
from enum import Enum

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
_PREFIX = "replyhook"
_PROPAGATOR = TraceContextTextMapPropagator()


class Side(Enum):
    """Who asked whom in what a span tells of."""

    ASKED_US = SpanKind.SERVER
    WE_ASKED = SpanKind.CLIENT
    NOBODY = SpanKind.INTERNAL


class Spans:
    """Makes spans that are over, with whatever provider of them is set up in this process."""

    def __init__(self) -> None:
        self._tracer = get_tracer(_PREFIX)

    def make(
        self,
        name: str,
        *,
        side: Side,
        begun: int,
        ended: int | None,
        attributes: Mapping[str, str | int],
        is_failure: bool,
        job: str | None,
        caller: str | None,
    ) -> str | None:
        """Make one; its ``traceparent``, where it has one. Times are nanoseconds.

        ``job`` and ``caller`` are theirs: it is the caller's child where that is in the job's trace, or the job in
        none yet; else the job's, with a link to the caller.
        """
        of_job, of_caller = _context(job), _context(caller)
        above, asking = (get_current_span(context).get_span_context() for context in (of_job, of_caller))
        joins_caller = asking.is_valid and (not above.is_valid or asking.trace_id == above.trace_id)
        span = self._tracer.start_span(
            f"{_PREFIX} {name}",
            context=of_caller if joins_caller else of_job,
            kind=side.value,
            links=[Link(asking)] if asking.is_valid and not joins_caller else (),
            attributes={f"{_PREFIX}.{key}": value for key, value in attributes.items()},
            start_time=begun,
        )
        if is_failure:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
        return carrier.get(HEADER)


def _context(traceparent: str | None) -> Context:
    """A context of no span but the one named: what this process may be in the middle of is not the job's."""
    return _PROPAGATOR.extract({HEADER: traceparent or ""}, Context())
