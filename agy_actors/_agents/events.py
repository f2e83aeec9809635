"""Events of agents, their turns and their model."""

from __future__ import annotations

import dataclasses

from google.antigravity.types import UsageMetadata  # noqa: TC002 (for `typing.get_type_hints`)

from agy_actors._supervision.event_hub import Event
from agy_actors._supervision.events import AgentEvent

__all__ = [
    "AgentFellAsleep",
    "BudgetUsedUp",
    "ModelRetrying",
    "ModelSilent",
    "QuotaHold",
    "TriggerFailed",
    "TurnEnded",
    "TurnRetried",
    "TurnStarted",
    "TurnWaiting",
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AgentFellAsleep(AgentEvent):
    """An agent closed its conversation after its `idle_timeout`; its next turn wakes it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnWaiting(AgentEvent):
    """A turn waits: the machine is overloaded, or `max_running_turns` turns are running.

    `TurnStarted` follows. The turn's timeout counts from then on.
    """

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(AgentEvent):
    """A prompt is sent to the model."""

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""

    attempt: int
    """The number of the attempt, from 1."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnRetried(AgentEvent):
    """An attempt of a turn failed, and the prompt will be sent to the model again."""

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""

    attempt: int
    """The number of the failed attempt, from 1."""

    delay: float
    """Seconds until the next attempt."""

    error: str
    """The text of the error that the attempt failed with."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded(AgentEvent):
    """A turn has ended."""

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""

    seconds: float
    """Its duration in seconds, from when the agent took it from the mailbox."""

    error: str | None
    """The name of the error's type; `None` if the turn was answered."""

    usage: UsageMetadata | None = None
    """The tokens of all its attempts; `None` if the model's service did not report them."""

    conversation_id: str = ""
    """The id of the conversation that it belongs to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TriggerFailed(AgentEvent):
    """A trigger of an agent raised an exception. This is also a WARNING in the log.

    The trigger does not run again until the agent is restarted.
    """

    trigger: str
    """The name of its function. The SDK's own have names such as `every_5s` and
    `on_file_change_NAME`."""

    error: str
    """The type and the text of the exception."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuotaHold(Event):
    """No turn of an API key starts for a while: its quota is used up."""

    key: str
    """The key's fingerprint."""

    seconds: float
    """Seconds until a turn may start."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUsedUp(Event):
    """The tokens of a `Budget` are used up, so no turn below starts. This is also a WARNING.

    It is published once, and not for each turn that is refused; and again if the budget is used up
    again after it had room. If several share the budget, only the supervisors above the agent that
    used it up publish the event.
    """

    budget: str
    """Whose budget it is, such as `"pool 'workers'"`."""

    tokens: int
    """How many tokens may be used in the window of the budget."""

    within: float
    """The length of the window, in seconds; infinity for a window without an end."""

    retry_after: float
    """Seconds after which a turn can start, if running turns use no more tokens."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelRetrying(AgentEvent):
    """A request to the model failed, and the harness repeats it. This is also a WARNING in the log.

    The turn continues. The event is published only when it is certain which turn the failure
    belongs to. If several conversations share a process, that may be when the next request begins.
    """

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""

    attempt: int
    """The number of the failed request in this turn, from 1."""

    reason: str
    """Why it failed, in the harness's words."""

    next_wait: float | None
    """Seconds until the next request; `None` if it is sent now or the harness does not say."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSilent(AgentEvent):
    """The model has sent nothing for another 4 seconds. This is also an INFO in the log.

    The turn continues: the model may be slow, or the harness repeats a failed request without
    reporting it. The event is not published while a tool runs or a person is asked.
    """

    turn: int
    """The number of the agent's turn, from 1. Restarts do not reset it."""

    seconds: float
    """Seconds since the prompt or since the last output of the model."""
