"""`Exporters`: the OpenTelemetry SDK with its usual exporters, for programs without their own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from agy_actors._actors.errors import AgyActorsError
from agy_actors.telemetry.metrics.prometheus import serve_metrics

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import TracerProvider

__all__ = ["Exporters", "is_wanted_by_environment"]

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


def is_wanted_by_environment() -> bool:
    """Return whether the standard variables name a collector, and do not disable the SDK."""
    return not _is_disabled() and any(os.environ.get(name) for name in _ENDPOINTS)


def _is_disabled() -> bool:
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _exports(signal: str) -> bool:
    """Return whether the standard variables permit to export traces or metrics."""
    return os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() != "none"


class Exporters:
    """Providers that export, until `close`. They are not set as the global ones.

    It is a context manager, whose end closes it. The standard `OTEL_*` variables apply, such as
    `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME` and `OTEL_TRACES_SAMPLER`.

    Args:
        otlp: the address of a collector that accepts OTLP over HTTP, such as
            `http://localhost:4318`; `None` for the one in the environment, if there is one.
        metrics_port: serves metrics for Prometheus on this port of 127.0.0.1; `None` does not.
        service: the name of the service, if the environment does not set it.

    Raises:
        MetricsNotServed: the port cannot be used.
        AgyActorsError: the extra `telemetry` is not installed.
    """

    def __init__(
        self, otlp: str | None = None, *, metrics_port: int | None = None, service: str
    ) -> None:
        try:
            from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        except ImportError as error:
            raise AgyActorsError(
                "to export telemetry, install the extra `telemetry`:"
                f' pip install "agy-actors[telemetry]" ({error})'
            ) from error
        exports = not _is_disabled() and (otlp is not None or is_wanted_by_environment())
        resource = _resource(service)
        readers = [_metric_reader(otlp)] if exports and _exports("METRICS") else []
        with ExitStack() as stack:
            self.meter_provider: MeterProvider
            """Makes the meters. It is the argument for `instrument`."""
            if metrics_port is None:
                self.meter_provider = MeterProvider(
                    readers, resource=resource, shutdown_on_exit=False
                )
                stack.callback(self.meter_provider.shutdown)
            else:
                server = serve_metrics(metrics_port, readers=readers, resource=resource)
                self.meter_provider = stack.enter_context(server).meter_provider
            tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self.tracer_provider: TracerProvider = tracer_provider
            """Makes the tracers. It is the argument for `instrument`."""
            stack.callback(tracer_provider.shutdown)
            if exports and _exports("TRACES"):
                tracer_provider.add_span_processor(_span_processor(otlp))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Export what is left, and end. Further calls do nothing."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _resource(service: str) -> Resource:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource  # noqa: PLC0415

    found = Resource.create()
    known = str(found.attributes.get(SERVICE_NAME, ""))
    if known and not known.startswith("unknown_service"):
        return found
    return found.merge(Resource({SERVICE_NAME: service}))


def _metric_reader(otlp: str | None) -> MetricReader:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter,
    )
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    return PeriodicExportingMetricReader(OTLPMetricExporter(_signal(otlp, "metrics")))


def _span_processor(otlp: str | None) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter(_signal(otlp, "traces")))


def _signal(otlp: str | None, signal: str) -> str | None:
    """Return the address for traces or metrics, as the exporters derive it from a variable."""
    return None if otlp is None else f"{otlp.rstrip('/')}/v1/{signal}"
