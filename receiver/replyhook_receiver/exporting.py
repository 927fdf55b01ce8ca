"""Where `replyhook serve` sends the spans it makes: by OTLP over HTTP, as the OTEL_… environment says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

from replyhook.errors import ConfigurationError
from replyhook_receiver.extras import how_to_install

_NAME = "service.name"
_PROTOCOL = "http/protobuf"
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


@contextmanager
def exported(environ: Mapping[str, str]) -> Iterator[None]:
    """Send what is made while the context lasts; what waits at its end is sent before it is over.

    Raises ``ConfigurationError`` where what is needed is not installed, or something else than OTLP over HTTP is asked
    for.
    """
    _check(environ)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    resource = Resource.create()
    if str(resource.attributes.get(_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({_NAME: "replyhook"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none":
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _check(environ: Mapping[str, str]) -> None:
    if not all(_is_there(name) for name in _NEEDED):
        raise ConfigurationError(f"tracing = true needs more packages: {how_to_install('otel')}")
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporter not in ("otlp", "none"):
        raise ConfigurationError("OTEL_TRACES_EXPORTER can be otlp, or none: the receiver sends nothing else")
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", _PROTOCOL)
    if environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general) != _PROTOCOL:
        raise ConfigurationError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL can be {_PROTOCOL} alone; a collector takes it on port 4318"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
