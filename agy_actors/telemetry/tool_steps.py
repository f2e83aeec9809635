"""`ToolSteps`: recognises the calls of the harness's own tools and of MCP tools in steps.

The harness runs these tools, so only the steps of a turn tell when a call begins and ends. The
tools of an agent's configuration run here; they are recognised by their names and left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from google.antigravity.types import StepStatus, StepType

if TYPE_CHECKING:
    from collections.abc import Collection

    from google.antigravity.types import Step

__all__ = ["ToolSteps", "ToolUse"]

_ENDED = (StepStatus.DONE, StepStatus.CANCELED, StepStatus.ERROR)


class ToolUse(NamedTuple):
    """A call of a tool that has ended."""

    name: str
    began: float
    """When its first step came, on the clock of the caller."""
    call_id: str
    error: str | None
    """The kind of its failure; `None` if it succeeded."""


class ToolSteps:
    """The tool calls of one attempt.

    Args:
        own_tools: the names of the tools of the agent's configuration.
    """

    def __init__(self, own_tools: Collection[str]) -> None:
        self._own_tools = own_tools
        self._running: dict[tuple[str, int], tuple[float, str, str]] = {}

    def see(self, step: Step, now: float) -> ToolUse | None:
        """Take a step, and return the call that it ends."""
        if step.type != StepType.TOOL_CALL:
            return None
        place = (step.trajectory_id, step.step_index)
        began, name, call_id = self._running.get(place, (now, "", ""))
        for call in step.tool_calls:
            name, call_id = call.name, call.id or call_id
        if step.status not in _ENDED:
            self._running[place] = began, name, call_id
            return None
        self._running.pop(place, None)
        return self._use(began, name, call_id, _error_of(step.status))

    def end(self) -> list[ToolUse]:
        """Return the calls that have not ended, at the end of the attempt."""
        running, self._running = self._running, {}
        uses = [self._use(*call, "cancelled") for call in running.values()]
        return [use for use in uses if use is not None]

    def _use(self, began: float, name: str, call_id: str, error: str | None) -> ToolUse | None:
        if not name or name in self._own_tools:
            return None
        return ToolUse(name, began, call_id, error)


def _error_of(status: StepStatus) -> str | None:
    return None if status == StepStatus.DONE else status.value.lower()
