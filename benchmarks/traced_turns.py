"""The cost of traces and metrics for a turn.

    python -m benchmarks.traced_turns [--rounds 30] [--turns 20]

It measures turns of one agent on the real harness with a scripted model: uninstrumented, with
`instrument` and no provider, and with a batch exporter that discards the spans. The three are
measured alternately, each first in a third of the rounds. It prints the medians of the time and of
this process's processor time for a turn, and their ratios. It exits with 1 if a ratio of the times
exceeds its limit: 1.01 without a provider, 1.05 with the exporter.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Annotated

import typer
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agy_actors import Supervisor
from agy_actors.telemetry import instrument
from benchmarks._failures import Failures
from benchmarks._model import serve
from benchmarks._rounds import alternate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from agy_actors import SupervisorRef
    from benchmarks._model import Model

    _Recording = Callable[[SupervisorRef], contextlib.AbstractContextManager[object]]

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)

_WITHOUT, _NO_PROVIDER, _EXPORTED = "uninstrumented", "without a provider", "with an exporter"
_LIMITS = {_NO_PROVIDER: 1.01, _EXPORTED: 1.05}
_TIME, _PROCESSOR = "time", "processor time"


class _Discarding(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1)] = 30,
    turns: Annotated[int, typer.Option(min=1, help="Turns in each round.")] = 20,
) -> None:
    """Compare the cost of turns."""
    failures = Failures()
    with serve() as model, Supervisor.start() as supervisor:
        recordings: dict[str, _Recording] = {
            _WITHOUT: _uninstrumented,
            _NO_PROVIDER: instrument,
            _EXPORTED: _exported,
        }
        peers = {
            name: _measured(supervisor, model, turns, recording)
            for name, recording in recordings.items()
        }
        peers[_WITHOUT]()  # The first turns cost more.
        values = alternate(peers, rounds)
    for what in (_TIME, _PROCESSOR):
        plain = statistics.median(values[what, _WITHOUT])
        for name, limit in _LIMITS.items():
            ratio = statistics.median(
                mine / other
                for mine, other in zip(values[what, name], values[what, _WITHOUT], strict=True)
            )
            print(
                f"a turn {name}, {what}: {statistics.median(values[what, name]) * 1e3:.2f} ms,"
                f" {plain * 1e3:.2f} ms uninstrumented, median ratio {ratio:.3f}"
            )
            if what == _TIME and ratio > limit:
                failures.add(f"a turn {name} takes {ratio:.3f} times as long")
    failures.finish()


def _measured(
    supervisor: SupervisorRef, model: Model, turns: int, recording: _Recording
) -> Callable[[], Mapping[str, float]]:
    def measure() -> Mapping[str, float]:
        # A new conversation: the harness needs longer for each turn of a long one.
        agent = supervisor.create_agent(model.config())
        agent.ask("now")
        with recording(supervisor):
            times: list[float] = []
            before = time.process_time()
            for _ in range(turns):
                begun = time.perf_counter()
                agent.ask("now")
                times.append(time.perf_counter() - begun)
            spent = (time.process_time() - before) / turns
        agent.stop()
        return {_TIME: statistics.median(times), _PROCESSOR: spent}

    return measure


@contextlib.contextmanager
def _uninstrumented(_: SupervisorRef) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _exported(supervisor: SupervisorRef) -> Iterator[None]:
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(_Discarding()))
    try:
        with instrument(supervisor, tracer_provider=tracers, meter_provider=meters):
            yield
    finally:
        tracers.shutdown()
        meters.shutdown()


if __name__ == "__main__":
    app()
