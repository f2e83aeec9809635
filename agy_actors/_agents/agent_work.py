"""`AgentWork`: the properties of turns that a pool or a session gives to an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from agy_actors._agents.agent_messages import Chat, Send, WaitForIdle
from agy_actors._sdk.errors import AgentDeadError, AgentStartError, TurnError
from agy_actors._supervision.work_kind import WorkKind

if TYPE_CHECKING:
    from agy_actors._actors.errors import ActorDeadError
    from agy_actors._actors.message import Message
    from agy_actors._supervision.errors import ActorStartError

__all__ = ["AgentWork"]


class AgentWork(WorkKind):
    """The properties of turns that a pool or a session gives to an agent."""

    noun: ClassVar[str] = "agent"
    dead_error: ClassVar[type[ActorDeadError]] = AgentDeadError
    start_error: ClassVar[type[ActorStartError]] = AgentStartError
    a_turn: ClassVar[Message[Any]] = Chat("any")

    def idle_request(
        self, message: Any, error: BaseException | None, *, cancelled: bool
    ) -> Message[Any] | None:
        runs_on = cancelled or (isinstance(message, Send) and error is None)
        return WaitForIdle() if runs_on else None

    def was_handled(self, error: BaseException) -> bool:
        return isinstance(error, TurnError)
