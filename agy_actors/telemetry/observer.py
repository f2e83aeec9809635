"""`Observer`: observes the turns below a supervisor, for traces and metrics.

Guarantee: an error of telemetry, such as one of a span processor, does not affect the turn. It is
logged.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._actors.runtime import current_runtime
from agy_actors.telemetry.model_facts import model_facts
from agy_actors.telemetry.turn_spans import TurnSpans, ids_of_context

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from google.antigravity.types import Step, UsageMetadata
    from opentelemetry.trace import Tracer

    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.agent_messages import ChatReply
    from agy_actors._agents.record import AgentSpec
    from agy_actors.telemetry.metrics.metrics import Metrics

__all__ = ["Observer"]


class Observer:
    """Observes turns. Implements `TurnObserver`. Thread-safe.

    Args:
        tracer: makes the spans.
        metrics: measures the turns.
        with_content: whether texts are recorded in spans.
    """

    def __init__(self, tracer: Tracer, metrics: Metrics | None, *, with_content: bool) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._with_content = with_content

    def begin(self, spec: AgentSpec, envelope: Envelope) -> _Turn:
        """See `TurnObserver.begin`."""
        spans = None
        with _logged():
            made = TurnSpans(self._tracer, spec, envelope, with_content=self._with_content)
            if made.span.is_recording():
                spans = made
        return _Turn(spec, envelope, spans, self._metrics)


class _Turn:
    """One turn. Implements `ObservedTurn`."""

    def __init__(
        self,
        spec: AgentSpec,
        envelope: Envelope,
        spans: TurnSpans | None,
        metrics: Metrics | None,
    ) -> None:
        self._spec = spec
        self._sent = envelope.context
        self._spans = spans
        self._metrics = metrics
        self._clock = current_runtime().time
        self._sent_at = self._clock() if envelope.sent_at is None else envelope.sent_at

    @property
    def context(self) -> contextvars.Context | None:
        return self._sent if self._spans is None else self._spans.context

    @property
    def log_fields(self) -> dict[str, str]:
        if self._spans is not None:
            return self._spans.log_fields
        return {} if self._sent is None else ids_of_context(self._sent.copy())

    def note(self, event: str, **facts: str | float | bool) -> None:
        if self._spans is not None:
            with _logged():
                self._spans.note(event, **facts)

    def begin_attempt(self, number: int, conversation_id: str) -> None:
        if self._spans is not None:
            with _logged():
                self._spans.begin_attempt(number, conversation_id)

    def see_step(self, step: Step) -> None:
        if self._spans is not None:
            with _logged():
                self._spans.see_step(step)

    def end_attempt(self, number: int, error: str | None, reply: ChatReply | None) -> None:
        if self._spans is not None:
            with _logged():
                self._spans.end_attempt(number, error, reply)

    def call_tool(
        self, name: str, arguments: dict[str, Any]
    ) -> AbstractContextManager[Callable[[BaseException], None]]:
        if self._spans is not None:
            with _logged():
                return self._spans.call_tool(name, arguments)
        return contextlib.nullcontext(_ignore)

    def end(self, error: str | None, usage: UsageMetadata | None) -> None:
        if self._spans is not None:
            with _logged():
                self._spans.end(error, usage)
        if self._metrics is not None:
            with _logged():
                facts = model_facts(self._spec.config)
                self._metrics.turn_ended(
                    owner=self._spec.supervisor,
                    provider=facts.provider,
                    model=facts.model,
                    server_address=facts.address,
                    seconds=self._clock() - self._sent_at,
                    error=error,
                    usage=usage,
                )


def _ignore(_: BaseException) -> None:
    """Do nothing with the error of a tool."""


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    """Log an exception of the block, and end it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (any error of a processor or an exporter)
        logger.warning("Telemetry of a turn failed: {}: {}", type(error).__name__, error)
