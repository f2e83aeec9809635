"""What an agent is, and what it keeps across its incarnations."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from google.antigravity.types import StepSource, StepType, UsageMetadata

from agy_actors._agent._errors import TurnError, TurnInterrupted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.types import Step

__all__ = ["AgentSpec", "Life", "RetryPolicy"]

_MAX_STEPS = 10_000  # As the SDK's own history.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a turn that broke is given to the model once more.

    It never is after a tool call was seen in it, which may have had effects, nor after
    text of it went to the reader of a stream.
    """

    attempts: int = 2
    """How often a prompt is given to the model at most. 1 never asks again."""

    def allows(self, error: TurnError, attempt: int) -> bool:
        """Tell whether a turn that broke with `error` at its `attempt`-th try may be retried."""
        return (
            isinstance(error, TurnInterrupted)
            and error.retryable
            and attempt < self.attempts
            and not error.tool_calls
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """All that it takes to build an incarnation of an agent."""

    name: str
    supervisor: str
    config: AgentConfig
    """The SDK's own, with the conversation's id, its mode and `save_dir` filled in."""
    conversation_id: str
    save_dir: Path
    retry: RetryPolicy
    max_model_errors: int
    max_empty_steps: int
    secrets: tuple[str, ...] = dataclasses.field(repr=False)


class Life:
    """What one agent keeps from incarnation to incarnation.

    Exactly one incarnation has it at a time: the next is built with it when the last
    has ended. So it has no lock.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.restarts = 0
        self.steps: list[Step] = []
        self.last_turn_usage: UsageMetadata | None = None
        self.last_error: str | None = None
        self.attempts: dict[Any, int] = {}
        """How often each waiting turn was tried, by its envelope."""
        self.deadlines: dict[Any, float] = {}
        """When each tried turn must end, by its envelope, on the host's clock."""
        self._usage = UsageMetadata()
        self._usage_base = UsageMetadata()
        self._resumed = False

    @property
    def usage(self) -> UsageMetadata:
        """The tokens of the whole life."""
        return self._usage.model_copy()

    def resume(self, history: Sequence[Step], usage: UsageMetadata) -> None:
        """Note what a fresh incarnation's conversation brought along.

        The harness restores the usage of completed turns, and nothing of a turn that was
        cut off; whichever it restores, what was counted here stays counted (F11).
        """
        if not self._resumed:
            self._resumed = True
            self.steps = list(history)[-_MAX_STEPS:]
            self.turns = sum(step.source == StepSource.USER for step in history)
            self._usage = usage.model_copy()
        missing = (self._usage.total_token_count or 0) - (usage.total_token_count or 0)
        self._usage_base = self._usage - usage if missing > 0 else UsageMetadata()

    def record(self, step: Step) -> None:
        """Append a step to the history."""
        self.steps.append(step)
        if len(self.steps) > _MAX_STEPS:
            del self.steps[: len(self.steps) - _MAX_STEPS]

    def count_usage(self, conversation: UsageMetadata) -> None:
        """Note the conversation's usage as its incarnation reports it now."""
        self._usage = self._usage_base + conversation

    def compaction_indices(self) -> list[int]:
        """Return where in the history the context was compacted."""
        return [i for i, step in enumerate(self.steps) if step.type == StepType.COMPACTION]

    def last_response(self) -> str | None:
        """Return the last complete response."""
        for step in reversed(self.steps):
            if step.is_complete_response:
                return step.content
        return None
