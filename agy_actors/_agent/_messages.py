"""The messages that an agent answers."""

from __future__ import annotations

import dataclasses
from typing import Any

from google.antigravity.types import Step, UsageMetadata

from agy_actors._agent._errors import InvalidPrompt
from agy_actors._agent._prompts import check_prompt
from agy_actors._agent._replies import AgentStatistics, ChatReply, ToolInfo
from agy_actors._kernel import Lane, Message, check_optional_seconds

__all__ = [
    "AvailableTools",
    "Cancel",
    "Chat",
    "ClearHistory",
    "Delete",
    "Disconnect",
    "GetCompactionIndices",
    "GetConversationId",
    "GetHistory",
    "GetLastResponse",
    "GetLastTurnUsage",
    "GetStatistics",
    "GetTotalUsage",
    "GetTurnCount",
    "IsIdle",
    "Send",
    "SignalIdle",
    "WaitForIdle",
    "WaitForWakeup",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Chat(Message[ChatReply]):
    """Have a turn: ask the model, and get all of its answer.

    Raises:
        InvalidPrompt: the prompt, or a part of it, is empty, too large, too long (191,000
            bytes of text in UTF-8), not encodable, or of a type that cannot be asked. It names
            the part.
        InvalidPrompt: a timeout is not a number of seconds above 0.
    """

    prompt: Any
    """Text, an image, document, audio or video of the SDK, or a sequence of these."""

    timeout: float | None = dataclasses.field(default=None, kw_only=True)
    """Seconds for the turn, from its start; `None` is `AGY_ACTORS_CHAT_TIMEOUT`, or 120."""

    stall_timeout: float | None = dataclasses.field(default=None, kw_only=True)
    """Seconds of silence within it; `None` is `AGY_ACTORS_STALL_TIMEOUT`, or 60."""

    lane = Lane.TURN

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        for name in ("timeout", "stall_timeout"):
            given = getattr(self, name)
            seconds = check_optional_seconds(name, given, error=InvalidPrompt)
            if seconds is not given:
                object.__setattr__(self, name, seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class Send(Message[None]):
    """Start a turn, and be answered when it has started.

    Raises:
        InvalidPrompt: as for `Chat`.
    """

    prompt: Any

    lane = Lane.TURN

    def __post_init__(self) -> None:
        check_prompt(self.prompt)


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel(Message[bool]):
    """Cancel the running turn. Answered at once with whether one ran; idempotent."""


@dataclasses.dataclass(frozen=True, slots=True)
class IsIdle(Message[bool]):
    """Ask whether no turn runs and none waits."""


@dataclasses.dataclass(frozen=True, slots=True)
class WaitForIdle(Message[None]):
    """Be answered when no turn runs and none waits."""


@dataclasses.dataclass(frozen=True, slots=True)
class WaitForWakeup(Message[bool]):
    """Be answered `True` when the next turn starts or `SignalIdle` comes, else `False`.

    Raises:
        InvalidArgument: the timeout is not a number of seconds from 0.
    """

    timeout: float | None = None
    """Seconds until the answer is `False`; `None` is `AGY_ACTORS_HANDLER_TIMEOUT`, or 60."""

    def __post_init__(self) -> None:
        seconds = check_optional_seconds("timeout", self.timeout, zero=True)
        if seconds is not self.timeout:
            object.__setattr__(self, "timeout", seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class SignalIdle(Message[None]):
    """Wake all that wait for a wake-up."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetHistory(Message[list[Step]]):
    """Ask for the steps of the conversation, each as it was last seen."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClearHistory(Message[None]):
    """Forget the recorded steps; the conversation goes on as it was."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetTurnCount(Message[int]):
    """Ask how many turns were started in the agent's whole life."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetTotalUsage(Message[UsageMetadata]):
    """Ask for the tokens of the agent's whole life."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetLastTurnUsage(Message[UsageMetadata | None]):
    """Ask for the tokens of the last turn that ended."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetLastResponse(Message[str | None]):
    """Ask for the last complete response, or `None` if there is none."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetCompactionIndices(Message[list[int]]):
    """Ask where in the history the model's context was compacted."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetConversationId(Message[str]):
    """Ask for the conversation's id. It is known from the start."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetStatistics(Message[AgentStatistics]):
    """Ask for a snapshot of the agent."""


@dataclasses.dataclass(frozen=True, slots=True)
class AvailableTools(Message[list[ToolInfo]]):
    """Ask for the tools that the agent's model is offered: custom, then MCP, then builtin.

    An MCP server is connected to in the agent's first turn, by its process; what it offers
    is known from then on, and not before. Builtin tools go by the SDK's names
    (`BuiltinTools`). Not listed is what the process adds for its own use, to manage
    its tasks, say. Policies decide on each call, and hide no tool.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Disconnect(Message[None]):
    """End the agent now, and keep its saved conversation."""


@dataclasses.dataclass(frozen=True, slots=True)
class Delete(Message[None]):
    """End the agent now, and remove its saved conversation."""
