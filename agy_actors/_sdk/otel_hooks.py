"""Fits the SDK's hooks for OpenTelemetry (`get_otel_hooks`) into turns that are traced here.

They make spans `invoke_agent` and `execute_tool` of their own, below a span of the session
(google-antigravity 0.1.22). In a traced turn these would be duplicates, so they are left out, and
the spans of steps are put below the current span. The span of the session stays.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

from google.antigravity.types import HookResult

if TYPE_CHECKING:
    from google.antigravity.hooks.hook_runner import HookRunner

__all__ = ["fit_otel_hooks", "in_traced_turn"]

in_traced_turn: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "agy_actors_in_traced_turn", default=False
)
"""Whether this code runs in a turn that has a span."""

_MODULE = "google.antigravity.utils.otel"

_TURN = "OTelPreTurnHook"

_LEFT_OUT = {
    "_pre_turn_hooks": _TURN,
    "_pre_tool_call_decide_hooks": "OTelPreToolCallHook",
    "_post_tool_call_hooks": "OTelPostToolCallHook",
    "_on_tool_error_hooks": "OTelOnToolErrorHook",
}
"""The hooks that make or end duplicates, by the lists of the SDK's runner that they are in."""


def fit_otel_hooks(runner: HookRunner) -> None:
    """Replace the SDK's hooks for OpenTelemetry in a runner, if it has them."""
    for where, name in _LEFT_OUT.items():
        hooks: list[Any] = getattr(runner, where, [])
        for place, hook in enumerate(hooks):
            kind = type(hook)
            if kind.__module__ == _MODULE and kind.__name__ == name:
                hooks[place] = _FittedHook(hook)


class _FittedHook:
    """A hook that does nothing in a traced turn, except to name the parent of the steps' spans."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self.__qualname__ = type(hook).__qualname__  # For errors.

    async def run(self, context: Any, data: Any) -> Any:
        if not in_traced_turn.get():
            return await self._hook.run(context, data)
        if self.__qualname__ == _TURN:
            context.set_state("turn_span", _current_span())
        return HookResult(allow=True)


def _current_span() -> Any:
    """Return the current span as one that others cannot end."""
    from opentelemetry import trace  # noqa: PLC0415 (only for users of these hooks)

    return trace.NonRecordingSpan(trace.get_current_span().get_span_context())
