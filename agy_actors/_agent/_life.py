"""What an agent is, and what it keeps across its incarnations."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from google.antigravity.types import StepSource, StepStatus, StepType, UsageMetadata

from agy_actors._agent._messages import Send
from agy_actors._agent.save_episode import Episode
from agy_actors._agent.turn_crashes import TurnCrashes
from agy_actors._kernel import ReplyFuture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.types import Step

    from agy_actors._agent._output import OutputSchema
    from agy_actors._agent._pace import PaceBoard
    from agy_actors._agent._retry import RetryPolicy
    from agy_actors._events import EventHub
    from agy_actors._kernel import AsyncioActorRef, Envelope

__all__ = ["AgentSpec", "Life", "Trial"]

_MAX_STEPS = 10_000  # As the SDK's own history.
_NEAR = 16
"""How far back a step is looked for that grows: as many may grow side by side. Arbitrary;
subagents work side by side, and seldom more than a few."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """All that it takes to build an incarnation of an agent."""

    name: str
    supervisor: str
    config: AgentConfig
    """The SDK's own, with the conversation's id, its mode and `save_dir` filled in."""
    conversation_id: str
    """Its conversation; without a meaning where each turn has one of its own."""
    new_conversation_each_turn: bool = False
    """Whether each turn has a conversation of its own, which is removed after it."""
    save_dir: Path
    retry: RetryPolicy
    max_model_errors: int
    max_empty_steps: int
    idle_timeout: float | None
    stop_timeout: float
    hub: EventHub = dataclasses.field(repr=False, compare=False)
    pace: PaceBoard = dataclasses.field(repr=False, compare=False)
    pace_key: str
    """Which agents share a quota: a fingerprint of the API key, or the service's address."""
    secrets: tuple[str, ...] = dataclasses.field(repr=False)
    host: AsyncioActorRef | None = dataclasses.field(default=None, repr=False, compare=False)
    """Who has processes to share; `None` for one of the agent's own."""
    output: OutputSchema | None = None
    """What its answers must fit."""
    service: str = ""
    """The address of its model's service, without secrets, if the configuration names it."""


@dataclasses.dataclass(slots=True, eq=False)
class Trial:
    """A turn that was given to the model, and may be once more by the next incarnation."""

    envelope: Envelope
    seconds: float
    """What the turn has in all."""
    started: float
    """When it was taken up, on the host's clock."""
    deadline: float
    """When it must end, on the host's clock: its restarts count."""
    not_before: float = -math.inf
    """When its next attempt may begin."""
    attempt: int = 0
    refusals: int = 0
    """How often it could not begin because somebody else had the conversation open."""
    crashes: TurnCrashes = dataclasses.field(kw_only=True)
    """How often it crashed an agent."""
    cancelled: bool = False
    """Whether somebody cancelled it while it waited for its next attempt."""

    @property
    def answered(self) -> bool:
        """Whether nobody waits for its end any more."""
        reply_to = self.envelope.reply_to
        if not isinstance(reply_to, ReplyFuture):
            return False
        # A `Send` is answered when it starts, and still has to be carried out.
        return reply_to.cancelled() or (
            reply_to.done() and not isinstance(self.envelope.message, Send)
        )


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
        self.dead_letters = 0
        self.saving = Episode()
        self.trial: Trial | None = None
        """The turn that runs, or that a crash broke and that is to run again."""
        self._usage = UsageMetadata()
        self._usage_base = UsageMetadata()
        self._resumed = False
        self._last_index = -1
        """The highest index of the conversation's own steps that were seen."""
        self._prompts_unseen = 0
        """The prompts that were sent and have not come back as steps."""

    @property
    def usage(self) -> UsageMetadata:
        """The tokens of the whole life."""
        return self._usage.model_copy()

    def resume(self, history: Sequence[Step], usage: UsageMetadata) -> None:
        """Note what a fresh incarnation's conversation brought along.

        Steps that are new are added. Those that were cleared do not come back.

        The harness restores the usage of completed turns, and nothing of a turn that was
        cut off; whichever it restores, what was counted here stays counted (F11).
        """
        if not self._resumed:
            self._resumed = True
            self._usage = usage.model_copy()
        # While this agent slept or was restarted, another may have had the conversation.
        unknown = (i for i, step in enumerate(history) if _own_index(step) > self._last_index)
        new = history[next(unknown, len(history)) :]
        self._append(new)
        prompts = sum(step.source == StepSource.USER for step in new)
        self.turns += max(0, prompts - self._prompts_unseen)
        self._prompts_unseen = 0
        self._last_index = max(map(_own_index, history), default=-1)
        missing = (self._usage.total_token_count or 0) - (usage.total_token_count or 0)
        self._usage_base = self._usage - usage if missing > 0 else UsageMetadata()

    def take_up(self, envelope: Envelope, seconds: float, now: float) -> Trial:
        """Note that a turn is taken up, for the first time or again."""
        if self.trial is None or self.trial.envelope is not envelope:
            self.turns += 1
            if envelope.history is None:
                envelope.history = TurnCrashes()
            self.trial = Trial(envelope, seconds, now, now + seconds, crashes=envelope.history)
        return self.trial

    def knows(self, envelope: Envelope) -> bool:
        """Tell whether a turn was taken up before, by an incarnation that crashed."""
        return self.trial is not None and self.trial.envelope is envelope

    def note_prompt(self) -> None:
        """Note that a prompt goes to the harness."""
        self._prompts_unseen += 1

    def record(self, step: Step) -> None:
        """Note a step in the history, in place of what it was before.

        A step that grows comes again and again, each time with all of its text so far.
        """
        if step.source == StepSource.USER:
            self._prompts_unseen = 0
        steps = self.steps
        for index in range(len(steps) - 1, max(len(steps) - 1 - _NEAR, -1), -1):
            if _is_outgrown(steps[index], step):
                steps[index] = step
                return
        self._append([step])

    def _append(self, new: Sequence[Step]) -> None:
        self.steps.extend(new)
        if len(self.steps) > _MAX_STEPS:
            del self.steps[: len(self.steps) - _MAX_STEPS]
        self._last_index = max(self._last_index, *map(_own_index, new), -1)

    def count_usage(self, conversation: UsageMetadata) -> None:
        """Note the conversation's usage as its incarnation reports it now."""
        self._usage = self._usage_base + conversation

    def compaction_indices(self) -> list[int]:
        """Return where in the history the context was compacted."""
        unfinished = (StepStatus.ACTIVE, StepStatus.ERROR)  # One that failed stays active.
        return [
            i
            for i, step in enumerate(self.steps)
            if step.type == StepType.COMPACTION and step.status not in unfinished
        ]

    def last_response(self) -> str | None:
        """Return the agent's last complete response, not a subagent's."""
        for step in reversed(self.steps):
            if step.is_complete_response and not step.parent_trajectory_id:
                return step.content
        return None


def _own_index(step: Step) -> int:
    """Return a step's index in its conversation, or -1 for a step of a subagent."""
    return -1 if step.parent_trajectory_id else step.step_index


def _is_outgrown(old: Step, new: Step) -> bool:
    return (
        old.step_index == new.step_index
        and old.trajectory_id == new.trajectory_id
        and old.status == StepStatus.ACTIVE
        and old.type == new.type
        and old.source == new.source
        and not old.tool_calls  # Which the next state of the step need not repeat.
    )
