"""`Turn`: interprets the steps of one attempt of a turn. Pure: `TurnAttempts` passes each step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from google.antigravity.types import (
    StepSource,
    StepStatus,
    StepTarget,
    StepType,
    Text,
    Thought,
    ToolCall,
)

from agy_actors._sdk.error_text import ModelFailure, diagnose, failed_checkpoint, is_denial
from agy_actors._sdk.error_words import shorten, tidy
from agy_actors._sdk.stderr_hints import StderrHints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.antigravity.types import Step

__all__ = ["Turn"]

_UNNAMED = "a tool"


class Turn:
    """The observed steps of an attempt of a turn.

    The rule for ERROR steps: the harness retries some failures by itself and reports each as an
    ERROR step. If output comes after the last one, the turn has recovered; if not, that error is
    the turn's.

    Args:
        redact: removes secrets from the text of a service.
        now: returns the time, in seconds from any start.
    """

    def __init__(
        self,
        redact: Callable[[str], str] = str,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redact = redact
        self._texts: list[tuple[tuple[str, int], str]] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._seen_calls: set[str] = set()
        self._void: tuple[str, int] | None = None
        self._failure: ModelFailure | None = None
        self._prompt_index: int | None = None
        self._compaction_failed = False
        self._model_errors = 0
        self._empty_steps = 0
        self._tools_running: dict[tuple[str, int], str] = {}
        self.structured_output: Any = None
        self.stderr_hints = StderrHints(now)
        """The failures in the harness's standard error. They explain why a turn does not end, and
        do not count for a turn that ends."""

    @property
    def text(self) -> str:
        """The model's text for the user."""
        return "".join(text for _, text in self._texts)

    @property
    def thoughts(self) -> str:
        """The model's thoughts."""
        return "".join(self._thoughts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in order."""
        return tuple(self._calls)

    @property
    def failure(self) -> ModelFailure | None:
        """The last failure of the model's service, if no output came after it."""
        return self._failure

    @property
    def compaction_failed(self) -> bool:
        """Whether that failure is of a compaction in an earlier turn: the model was not asked."""
        return self._failure is not None and self._compaction_failed

    @property
    def model_errors(self) -> int:
        """How many steps in a row were errors of the model itself."""
        return self._model_errors

    @property
    def empty_steps(self) -> int:
        """How many steps in a row had no text, no thought and no tool call."""
        return self._empty_steps

    @property
    def tools_at_work(self) -> tuple[str, ...]:
        """The names of the tools that are running: their silence is not a stall."""
        return tuple(self._tools_running.values())

    def observe(self, step: Step) -> Iterator[Text | Thought | ToolCall]:
        """Process a step, and yield its events for readers of a stream."""
        if step.status == StepStatus.ERROR:
            self._observe_error(step)
            return
        if step.source == StepSource.USER:
            if self._prompt_index is None and not step.parent_trajectory_id:
                self._prompt_index = step.step_index
            return
        # A subagent writes to its agent, not to the user. Its step only shows that the turn runs.
        own = not step.parent_trajectory_id
        if own and step.type == StepType.FINISH and step.structured_output is not None:
            self.structured_output = step.structured_output
        brought = not own and bool(step.content_delta or step.thinking_delta)
        for event in self._events(step):
            brought = True
            yield event
        if brought or step.type in (StepType.FINISH, StepType.COMPACTION):
            self._failure = None
            self._model_errors = self._empty_steps = 0
            self.stderr_hints.note_output()
        elif step.status != StepStatus.DONE:
            self._empty_steps += 1
        if step.type == StepType.TOOL_CALL:
            self._note_tool(step)

    def _note_tool(self, step: Step) -> None:
        running = self._tools_running
        place = (step.trajectory_id, step.step_index)
        names = ", ".join(call.name for call in step.tool_calls)
        if _is_notice(step):
            # The notice never ends, since it has no step. The call's own step came before it,
            # without a name.
            place = next((place for place in running if running[place] == _UNNAMED), place)
            if place in running:
                running[place] = names
        elif step.status in (StepStatus.DONE, StepStatus.CANCELED):
            running.pop(place, None)
        else:
            # One of the call's steps names the tool, not always the first or the last.
            running[place] = names or running.get(place, _UNNAMED)

    def _events(self, step: Step) -> Iterator[Text | Thought | ToolCall]:
        own = not step.parent_trajectory_id
        if own and step.source == StepSource.MODEL and step.target == StepTarget.USER:
            if step.thinking_delta:
                self._thoughts.append(step.thinking_delta)
                yield Thought(step_index=step.step_index, text=step.thinking_delta)
            if step.content_delta:
                place = (step.trajectory_id, step.step_index)
                if self._void not in (None, place):
                    self._texts = [piece for piece in self._texts if piece[0] != self._void]
                self._void = None
                self._texts.append((place, step.content_delta))
                yield Text(step_index=step.step_index, text=step.content_delta)
        for call in step.tool_calls:
            if not call.id or call.id not in self._seen_calls:
                if call.id:
                    self._seen_calls.add(call.id)
                self._calls.append(call)
                yield call

    def _observe_error(self, step: Step) -> None:
        text = self._redact(step.error or step.content)
        failure = diagnose(text)
        # A compaction has a step of its own; one before this turn's prompt is an earlier one.
        index = None if step.parent_trajectory_id else failed_checkpoint(text)
        self._compaction_failed = (
            step.source == StepSource.SYSTEM
            and index is not None
            and self._prompt_index is not None
            and index < self._prompt_index
        )
        if failure is None:
            # Errors of tools and denials are not the model's.
            if step.type != StepType.TOOL_CALL and not is_denial(text):
                self._model_errors += 1
            failure = ModelFailure(None, None, shorten(tidy(text)) or "an unnamed error")
        self._failure = failure
        self._tools_running.pop((step.trajectory_id, step.step_index), None)
        # The harness asks again from the failed step on. When new text comes, it replaces the text
        # of that step; until then, the old text stands.
        if self._texts and not self._calls:
            self._void = self._texts[-1][0]


def _is_notice(step: Step) -> bool:
    """Return whether a step is only the SDK's notice that it calls a custom tool.

    Such a step has the call's id in place of its own, and always the step index 1
    (`handle_tool_call` of google-antigravity 0.1.22).
    """
    own_id = f"{step.trajectory_id}:{step.step_index}"
    return bool(step.id) and step.id != own_id and step.id in (c.id for c in step.tool_calls)
