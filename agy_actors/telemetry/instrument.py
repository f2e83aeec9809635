"""`instrument`: traces and metrics of a supervisor."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

import pykka
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace

from agy_actors import __version__
from agy_actors._supervision.supervisor_messages import Observe
from agy_actors.telemetry import content
from agy_actors.telemetry import conventions as names
from agy_actors.telemetry.metrics.metrics import Metrics
from agy_actors.telemetry.observer import Observer

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from agy_actors._supervisors.supervisor_ref import SupervisorRef

__all__ = ["Instrumentation", "instrument"]

_PATIENCE = 5.0
"""Seconds for the supervisor to answer. Arbitrary: one that hangs must not block the program."""


class Instrumentation:
    """The traces and metrics of a supervisor, until `close`. Thread-safe.

    It is a context manager, whose end closes it.
    """

    def __init__(self, supervisor: SupervisorRef, metrics: Metrics) -> None:
        self._supervisor = supervisor
        self._metrics = metrics
        self._closed = False

    def close(self) -> None:
        """End the instrumentation. Turns that run keep their spans. Further calls do nothing.

        It waits for the supervisor, at most for seconds.
        """
        closed, self._closed = self._closed, True
        if not closed:
            with contextlib.suppress(pykka.ActorDeadError, pykka.Timeout):
                self._supervisor.ask(Observe(None), timeout=_PATIENCE)
        self._metrics.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def instrument(
    supervisor: SupervisorRef,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation:
    """Record traces and metrics of all agents, pools and sessions below a supervisor.

    Each turn is a span `invoke_agent NAME` below the span of its asker, whichever thread asked.
    Spans and metrics follow OpenTelemetry's semantic conventions for generative AI. Prompts and
    answers are recorded only if the environment variable
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is `true`; API keys never are.

    Turns that run when it is called are not recorded.

    Args:
        supervisor: the supervisor. Its child supervisors are included.
        tracer_provider: makes the tracer; by default the global provider.
        meter_provider: makes the meter; by default the global provider. Without a provider of the
            OpenTelemetry SDK, nothing is recorded, and turns cost the same as before.

    Returns:
        The instrumentation, which can be closed. Otherwise it ends with the supervisor.

    Raises:
        InvalidConfig: the supervisor is instrumented already.
        AgentDeadError: the supervisor has ended.
    """
    tracer = trace.get_tracer(names.SCOPE, __version__, tracer_provider, names.SCHEMA_URL)
    meter = otel_metrics.get_meter(names.SCOPE, __version__, meter_provider, names.SCHEMA_URL)
    metrics = Metrics(supervisor, meter)
    try:
        supervisor.ask(Observe(Observer(tracer, metrics, with_content=content.is_captured())))
    except BaseException:
        metrics.close()
        raise
    return Instrumentation(supervisor, metrics)
