"""The trace that the program is in the middle of, where it uses OpenTelemetry: a job joins it."""

import sys

_HEADER = "traceparent"


def trace_headers() -> dict[str, str]:
    """The W3C header that names the current span; nothing where there is none.

    A program that has not loaded OpenTelemetry is in no span, so it is never loaded for this.
    """
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {_HEADER: carrier[_HEADER]} if _HEADER in carrier else {}
