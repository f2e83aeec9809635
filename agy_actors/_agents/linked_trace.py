"""The trace of code that causes a turn and does not wait for it, such as a `submit`."""

from __future__ import annotations

import contextvars
import sys

__all__ = ["context_with_link", "current_trace", "linked_trace"]

linked_trace: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "agy_actors_linked_trace", default=None
)
"""The span that a turn's span links to, as a `traceparent` of W3C Trace Context."""


def current_trace() -> str | None:
    """Return the current span as a `traceparent`; `None` if there is none."""
    if "opentelemetry.trace" not in sys.modules:
        return None  # Then there is no span. The import would cost time.
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 (see above)
        TraceContextTextMapPropagator,
    )

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def context_with_link(trace: str | None) -> contextvars.Context | None:
    """Return context variables with a link only; `None` if there is no trace to link to."""
    if trace is None:
        return None
    context = contextvars.Context()
    context.run(linked_trace.set, trace)
    return context
