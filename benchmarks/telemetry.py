"""The cost of telemetry.

    python -m benchmarks.telemetry [--asks 4000] [--rounds 15] [--children 100] [--max-ratio 1.10]

It measures a blocking ask of a supervised actor, without metrics and with metrics that are
collected four times a second, alternately in one run. The supervisor has further children, which
each collection reads. It prints the medians and the means, and their ratios. It exits with 1 if
the ratio of the medians exceeds `--max-ratio`. The mean includes the collections themselves.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)

from agy_actors import AsyncioActor, Supervisor
from agy_actors.telemetry.metrics.metrics import Metrics
from benchmarks._failures import Failures
from benchmarks._rounds import alternate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from agy_actors import AsyncioActorRef, SupervisorRef

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_EVERY = 250.0
"""Milliseconds between two collections. Arbitrary: sixty times as often as Prometheus by default,
so that each measurement has several."""

_MEDIAN, _MEAN = "median", "mean"


class _Echo(AsyncioActor):
    """Replies with each message."""

    def on_receive(self, message: Any) -> Any:
        return message


class _Discarding(MetricExporter):
    """Exports nothing."""

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any
    ) -> MetricExportResult:
        del metrics_data, timeout_millis, options
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        """Do nothing."""


@app.command()
def main(
    asks: Annotated[int, typer.Option(min=1, help="Asks in each round.")] = 4000,
    rounds: Annotated[int, typer.Option(min=1)] = 15,
    children: Annotated[int, typer.Option(min=1, help="Children of the supervisor.")] = 100,
    max_ratio: Annotated[
        float, typer.Option(min=0.0, help="The highest ratio that passes.")
    ] = 1.10,
) -> None:
    """Compare the cost of an ask without metrics and with them."""
    failures = Failures()
    with Supervisor.start() as supervisor:
        refs = [supervisor.create_actor(_Echo) for _ in range(children)]

        def without() -> dict[str, float]:
            return _time_asks(refs[0], asks)

        def with_metrics() -> dict[str, float]:
            with _measured(supervisor):
                return _time_asks(refs[0], asks)

        without()  # The first asks cost more.
        values = alternate({"without": without, "with": with_metrics}, rounds)
    for what in (_MEDIAN, _MEAN):
        plain, measured = (statistics.median(values[what, peer]) for peer in ("without", "with"))
        ratio = measured / plain
        print(
            f"an actor's blocking ask, {what}: {plain * 1e6:.2f} us without metrics,"
            f" {measured * 1e6:.2f} us with metrics, ratio {ratio:.3f}"
        )
        if what == _MEDIAN and ratio > max_ratio:
            failures.add(f"an ask costs {ratio:.3f} times as much with metrics")
    failures.finish()


@contextlib.contextmanager
def _measured(supervisor: SupervisorRef) -> Iterator[None]:
    """Collect the metrics of a supervisor."""
    reader = PeriodicExportingMetricReader(_Discarding(), export_interval_millis=_EVERY)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics = Metrics(supervisor, provider.get_meter("benchmark"))
    try:
        yield
    finally:
        metrics.close()
        provider.shutdown()


def _time_asks(ref: AsyncioActorRef, asks: int) -> dict[str, float]:
    """Ask an actor, and return the seconds for one ask."""
    clock = time.perf_counter
    times = []
    for number in range(asks):
        began = clock()
        ref.ask(number)
        times.append(clock() - began)
    return {_MEDIAN: statistics.median(times), _MEAN: statistics.mean(times)}


if __name__ == "__main__":
    app()
