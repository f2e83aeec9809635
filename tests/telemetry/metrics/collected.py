"""Reads the metrics that an `InMemoryMetricReader` has collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from agy_actors.telemetry.metrics.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

    from opentelemetry.sdk.metrics.export import Metric

    from agy_actors import SupervisorRef

__all__ = ["Collected"]


class Collected:
    """A provider of the SDK, and what it has collected. It has no thread."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("tests")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.provider.shutdown()

    def observe(self, supervisor: SupervisorRef) -> Metrics:
        """Measure a supervisor."""
        return Metrics(supervisor, self.meter)

    def metrics(self) -> dict[str, Metric]:
        """Collect, and return the metrics that have values, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {m.name: m for scope in scopes for m in scope.metrics if m.data.data_points}

    def points(self, name: str) -> list[Any]:
        """Collect, and return the points of a metric."""
        metric = self.metrics().get(name)
        return [] if metric is None else list(metric.data.data_points)

    def values(self, name: str, attribute: str) -> dict[str, float]:
        """Collect, and return the values of a metric that are not 0, by one of its attributes."""
        found: dict[str, float] = {}
        for point in self.points(name):
            if point.value:
                key = str(point.attributes[attribute])
                found[key] = found.get(key, 0) + point.value
        return found

    def total(self, name: str) -> float:
        """Collect, and return the sum of the values of a metric."""
        return float(sum(point.value for point in self.points(name)))

    def attributes(self) -> Iterator[tuple[str, str, object]]:
        """Collect, and return each name of a metric with each attribute and its value."""
        for name, metric in self.metrics().items():
            for point in metric.data.data_points:
                for attribute, value in (point.attributes or {}).items():
                    yield name, attribute, value
