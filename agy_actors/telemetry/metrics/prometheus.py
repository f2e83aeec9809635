"""`serve_metrics`: serves metrics for Prometheus on a port of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from agy_actors._actors.arguments import check_integer
from agy_actors._actors.errors import AgyActorsError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

__all__ = ["MetricsNotServed", "MetricsServer", "serve_metrics"]

_REQUEST_TIMEOUT = 5.0
"""Seconds that a client may be silent during a request. Arbitrary: a client that connects and sends
nothing must not delay the close for ever."""


class MetricsNotServed(AgyActorsError):
    """Raised when metrics cannot be served: the port is in use, or a package is missing."""


class MetricsServer:
    """A server of metrics, until `close`. Thread-safe. It is a context manager.

    It is made by `serve_metrics`.

    Args:
        provider: collects the metrics.
        server: the server of `prometheus_client`.
        thread: the thread that it runs on.
    """

    def __init__(self, provider: MeterProvider, server: Any, thread: threading.Thread) -> None:
        self.meter_provider = provider
        """Makes the meters whose metrics are served. It is the argument for `instrument`."""
        self._server = server
        self._thread = thread
        self._lock = threading.Lock()
        self._closed = False

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._server.server_port
        return port

    @property
    def url(self) -> str:
        """The address of the metrics."""
        host: str = self._server.server_address[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"

    def close(self) -> None:
        """Close the port, end the threads, and shut the provider down. Further calls do nothing.

        It waits for requests that are being answered.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self.meter_provider.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve_metrics(
    port: int,
    address: str = "127.0.0.1",
    *,
    readers: Sequence[MetricReader] = (),
    resource: Resource | None = None,
) -> MetricsServer:
    """Serve metrics for Prometheus at `/metrics`, on a thread of its own.

    ::

        with serve_metrics(9464) as server, Supervisor.start() as supervisor:
            instrument(supervisor, meter_provider=server.meter_provider)

    The metrics are in a registry of their own, not in the global one of `prometheus_client`.
    Everybody who reaches the port can read them.

    Args:
        port: the port; 0 chooses a free one.
        address: the address of the interface to listen on.
        readers: further readers of the provider, such as one with an OTLP exporter. They are shut
            down with it.
        resource: what produces the metrics; by default that of the OpenTelemetry SDK.

    Returns:
        The server, which is listening. Close it at the end.

    Raises:
        MetricsNotServed: the port is in use or not permitted, the address is not one of this
            machine, or the extra `telemetry` is not installed.
        InvalidArgument: the port is not an integer from 0 to 65535.
    """
    if check_integer("port", port, least=0) > 65_535:  # noqa: PLR2004 (the highest port)
        raise InvalidArgument(f"port must be an integer from 0 to 65535, got {port}")
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415
    except ImportError as error:
        raise MetricsNotServed(
            "to serve metrics, install the extra `telemetry`:"
            f' pip install "agy-actors[telemetry]" ({error})'
        ) from error
    registry = CollectorRegistry()
    server: Any
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise MetricsNotServed(
            f"cannot serve metrics on port {port} of {address}: {error.strerror or error}; choose"
            " another port, or 0 for a free one"
        ) from error
    # A close must not leave threads behind: it waits for those of requests, which are not daemons.
    server.daemon_threads = False
    server.RequestHandlerClass = type(
        "Handler", (server.RequestHandlerClass,), {"timeout": _REQUEST_TIMEOUT}
    )
    provider = MeterProvider(
        [PrometheusMetricReader(registry=registry), *readers],
        resource=Resource.create() if resource is None else resource,
        shutdown_on_exit=False,  # `close` does it.
    )
    return MetricsServer(provider, server, thread)
