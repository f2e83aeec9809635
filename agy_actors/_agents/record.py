"""`AgentSpec`, from which an agent is created, and `AgentRecord`, which outlives incarnations."""

from __future__ import annotations

import dataclasses
import math
from asyncio import CancelledError
from typing import TYPE_CHECKING

from google.antigravity.types import StepSource, StepStatus, StepType, UsageMetadata

from agy_actors._actors.future import ReplyFuture
from agy_actors._agents.agent_messages import Send
from agy_actors._agents.budgets import NO_BUDGETS, Budgets
from agy_actors._agents.events import TurnEnded
from agy_actors._agents.tally import Tally
from agy_actors._agents.trigger_turns import Notices
from agy_actors._agents.turn_crashes import TurnCrashes
from agy_actors._agents.turn_messages import TriggerTurn
from agy_actors._sdk.errors import AgentDeadError
from agy_actors._sdk.save_episode import Episode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google.antigravity import AgentConfig
    from google.antigravity.types import Step

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.observed_turn import ObservedTurn
    from agy_actors._agents.rate_limit import PaceBoard
    from agy_actors._agents.retry_policy import RetryPolicy
    from agy_actors._agents.turn_slots import TurnSlots
    from agy_actors._sdk.output_schema import OutputSchema
    from agy_actors._sdk.packed_conversation import PackedConversation
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["AgentRecord", "AgentSpec", "PendingTurn"]

_MAX_STEPS = 10_000  # The limit of the SDK's own history.
_NEAR = 16
"""How many of the last steps may still grow. Arbitrary: only steps of subagents that work at the
same time grow together, usually a few."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """Everything that an incarnation of an agent is built from."""

    name: str
    """Its name under its supervisor."""
    supervisor: str
    """The name of its supervisor."""
    config: AgentConfig
    """The SDK's configuration, with the conversation's id, its mode and `save_dir` filled in."""
    conversation_id: str
    """The id of its conversation. It means nothing if each turn has a conversation of its own."""
    new_conversation_each_turn: bool = False
    """Whether each turn has a conversation of its own, which is removed after the turn."""
    save_dir: Path
    """The folder of its conversation's database."""
    retry: RetryPolicy
    """Decides whether a failed turn is tried again."""
    max_model_errors: int
    """How many consecutive errors of the model end a turn; 0 for no limit."""
    max_empty_steps: int
    """How many consecutive empty steps end a turn; 0 for no limit."""
    idle_timeout: float | None
    """Seconds without a turn after which it closes its conversation; `None` for never."""
    stop_timeout: float
    """Seconds that it gets to end when its supervisor stops it."""
    hub: EventHub = dataclasses.field(repr=False, compare=False)
    """Where its events go."""
    pace: PaceBoard = dataclasses.field(repr=False, compare=False)
    """The rate limits of API keys."""
    slots: TurnSlots = dataclasses.field(repr=False, compare=False)
    """The limit of running turns."""
    budgets: Budgets = dataclasses.field(default=NO_BUDGETS, repr=False, compare=False)
    """The budgets of tokens that limit its turns, and those above."""
    pace_key: str
    """What agents with a common quota share: a fingerprint of the API key, or the service's
    address."""
    secrets: tuple[str, ...] = dataclasses.field(repr=False)
    """Texts that must not appear in errors, logs and events."""
    process_pool: AsyncioActorRef | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
    """The actor that has shared processes; `None` if the agent has a process of its own."""
    packed: PackedConversation | None = dataclasses.field(default=None, repr=False, compare=False)
    """Compresses the conversation's files while it is closed; `None` leaves them as they are."""
    output: OutputSchema | None = None
    """The schema of its answers; `None` if they need not fit one."""
    service: str = ""
    """The address of its model's service, without secrets; empty if the configuration has no
    address."""


@dataclasses.dataclass(slots=True, eq=False)
class PendingTurn:
    """A turn that was taken up. If this incarnation crashes, the next one continues it."""

    envelope: Envelope
    """Its message."""
    seconds: float
    """Seconds that the turn may take in total."""
    started: float
    """When it was taken up, on the runtime's clock."""
    deadline: float
    """When it must end, on the runtime's clock. Restarts do not change it."""
    not_before: float = -math.inf
    """When its next attempt may begin, on the runtime's clock."""
    attempt: int = 0
    """The number of the present attempt, from 1; 0 before the first."""
    refusals: int = 0
    """How often it could not begin because the conversation was open elsewhere."""
    crashes: TurnCrashes = dataclasses.field(kw_only=True)
    """How often it crashed an agent."""
    cancelled: bool = False
    """Whether it was cancelled while it waited for an attempt."""
    usage: UsageMetadata | None = None
    """The tokens of all its attempts so far; `None` if the model's service did not report them."""
    conversation_id: str = ""
    """The id of the conversation of its last attempt."""
    observed: ObservedTurn | None = None
    """What observes it, if anything does."""

    @property
    def answered(self) -> bool:
        """Whether its asker has stopped waiting for the reply."""
        reply_to = self.envelope.reply_to
        if not isinstance(reply_to, ReplyFuture):
            return False
        # A `Send` is answered when it starts, before it is carried out.
        return reply_to.cancelled() or (
            reply_to.done() and not isinstance(self.envelope.message, Send)
        )

    @property
    def moves(self) -> bool:
        """Whether another member of the agent's pool continues the turn if the agent ends.

        A pool does not know what becomes of a `Send` after its start.
        """
        return self.crashes.of_pool and not isinstance(self.envelope.message, Send)


class AgentRecord:
    """The data that an agent keeps from one incarnation to the next.

    It needs no lock, since only one incarnation has it at a time: the next one is built when the
    one before has ended or was abandoned, and an abandoned one has a copy.

    Args:
        tally: the supervisor's counts.
        budgets: the budgets that its tokens count for.
    """

    def __init__(self, tally: Tally | None = None, budgets: Budgets = NO_BUDGETS) -> None:
        self.tally = tally or Tally()
        self.budgets = budgets
        self.turns = 0
        """How many turns were taken up."""
        self.restarts = 0
        """How many incarnations were started after the first."""
        self.restarts_done = 0
        """How many incarnations became ready."""
        self.steps: list[Step] = []
        self.last_turn_usage: UsageMetadata | None = None
        self.last_error: str | None = None
        self.dead_letters = 0
        self.saving = Episode()
        self.notices = Notices()
        self.pending: PendingTurn | None = None
        """The turn that runs, or that waits for a restart to run again."""
        self._usage = UsageMetadata()
        self._usage_base = UsageMetadata()
        self._resumed = False
        self._last_index = -1
        """The highest index of a step of the conversation itself, not of a subagent."""
        self._prompts_unseen = 0
        """How many prompts were sent that have not come back as steps."""

    @property
    def usage(self) -> UsageMetadata:
        """The tokens that the agent has used since it was created."""
        return self._usage.model_copy()

    @property
    def length(self) -> int:
        """How many steps the conversation itself has, without those of subagents.

        It is the same before and after the conversation is opened again, unlike the number of the
        steps that were seen: the SDK adds notices of its own. `ClearHistory` does not change it.
        """
        return self._last_index + 1

    def resume(self, history: Sequence[Step], usage: UsageMetadata) -> None:
        """Take over the history and the usage that a conversation has when it is opened.

        New steps are added. Steps that were cleared do not come back.

        The harness restores the usage of completed turns, and not of an interrupted turn. The
        record keeps its own counts (docs/sdk_facts.rst, resumed-conversation).
        """
        if not self._resumed:
            self._resumed = True
            self._usage = usage.model_copy()
        # Another agent may have used the conversation while this one slept or was restarted.
        unknown = (i for i, step in enumerate(history) if _own_index(step) > self._last_index)
        new = history[next(unknown, len(history)) :]
        self._append(new)
        prompts = sum(step.source == StepSource.USER for step in new)
        self.turns += max(0, prompts - self._prompts_unseen)
        self._prompts_unseen = 0
        self._last_index = max(map(_own_index, history), default=-1)
        missing = (self._usage.total_token_count or 0) - (usage.total_token_count or 0)
        self._usage_base = self._usage - usage if missing > 0 else UsageMetadata()

    def take_up(self, envelope: Envelope, seconds: float, now: float) -> PendingTurn:
        """Note that a turn is taken up, for the first time or again."""
        if self.pending is None or self.pending.envelope is not envelope:
            self.turns += 1
            if envelope.history is None:
                envelope.history = TurnCrashes()
            history: TurnCrashes = envelope.history
            # Another member of a pool may have begun it.
            deadline = now + seconds if history.deadline is None else history.deadline
            self.pending = PendingTurn(envelope, seconds, now, deadline, crashes=history)
        return self.pending

    @property
    def runs_triggers(self) -> bool:
        """Whether the pending turn is one of the agent's triggers."""
        pending = self.pending
        return pending is not None and isinstance(pending.envelope.message, TriggerTurn)

    def knows(self, envelope: Envelope) -> bool:
        """Return whether a turn was taken up before, by an incarnation that crashed."""
        return self.pending is not None and self.pending.envelope is envelope

    def end_turn(
        self, spec: AgentSpec, pending: PendingTurn, seconds: float, error: str | None
    ) -> None:
        """Count a turn that has ended, and publish an event if there is a subscriber.

        Args:
            spec: the agent's.
            pending: the turn.
            seconds: how long it took.
            error: the name of its error's type; `None` if it was answered.
        """
        self.tally.note_turn(error)
        if pending.observed is not None:
            pending.observed.end(error, pending.usage)
        if spec.hub.active:
            ended = TurnEnded(
                supervisor=spec.supervisor,
                agent=spec.name,
                turn=self.turns,
                seconds=seconds,
                error=error,
                usage=pending.usage,
                conversation_id=pending.conversation_id or spec.conversation_id,
            )
            spec.hub.publish(ended)
        self.pending = None

    def end_lost_turn(self, spec: AgentSpec, now: float) -> None:
        """End the turn that was cut off, if there is one and no incarnation resumes it."""
        pending = self.pending
        if pending is not None:
            reply_to = pending.envelope.reply_to
            given_up = isinstance(reply_to, ReplyFuture) and reply_to.cancelled()
            kind = CancelledError if given_up else AgentDeadError
            self.end_turn(spec, pending, now - pending.started, kind.__name__)

    def note_prompt(self) -> None:
        """Note that a prompt is sent to the harness."""
        self._prompts_unseen += 1

    def note_step(self, step: Step) -> None:
        """Add a step to the history, or replace its previous state.

        A step that grows comes several times, each time with its whole text so far.
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
        """Update the usage from the session's report for the conversation."""
        before, self._usage = self._usage, self._usage_base + conversation
        spent = self._usage - before
        self.tally.note_usage(spent)
        self.budgets.count(spent.total_token_count or 0)

    def compaction_indices(self) -> list[int]:
        """Return the indices of the steps in the history that compacted the context."""
        unfinished = (StepStatus.ACTIVE, StepStatus.ERROR)  # A failed compaction stays active.
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
        and not old.tool_calls  # The step's next state need not repeat them.
    )
