"""The messages that an agent answers, and the reply to a `Chat`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from google.antigravity.types import Step, StopReason, ToolCall, UsageMetadata
from pydantic import BaseModel
from typing_extensions import TypeVar

from agy_actors._actors.arguments import check_optional_seconds, shown
from agy_actors._actors.message import Lane, Message
from agy_actors._agents.agent_statistics import AgentStatistics
from agy_actors._agents.prompts import check_prompt
from agy_actors._sdk.available_tools import ToolInfo
from agy_actors._sdk.errors import InvalidPrompt

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


P_co = TypeVar("P_co", bound=BaseModel | None, covariant=True, default=BaseModel | None)
"""The type of `reply.parsed`: the `response_schema` of the `Chat`, if it has one."""


P = TypeVar("P", bound=BaseModel | None, default=BaseModel | None)
"""The type of `reply.parsed`: the `response_schema`, if there is one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply(Generic[P_co]):
    """The complete reply to a `Chat`."""

    text: str
    """The model's text for the user."""

    thoughts: str = ""
    """The model's thoughts, if the model's service reports them."""

    tool_calls: tuple[ToolCall, ...] = ()
    """The tools that the model called, in order."""

    usage: UsageMetadata | None = None
    """The tokens of all attempts of the turn; `None` if the model's service did not report them."""

    structured_output: Any = None
    """The data that fit the `response_schema`; `None` if the agent has no schema."""

    parsed: P_co = None  # type: ignore[assignment] # as its default, `BaseModel | None`
    """The same data as an instance of the `response_schema`, if that is a pydantic model."""

    stop_reason: StopReason
    """Why the turn ended; `UNSPECIFIED` is the normal end."""

    attempts: int = 1
    """How often the prompt was given to the model: more than once after a crash."""

    conversation_id: str
    """The id of the conversation that the turn belongs to."""

    metadata: Any = dataclasses.field(default=None, hash=False)
    """The `metadata` of the `Chat`, unchanged."""

    if TYPE_CHECKING:

        @property
        def _answers(self) -> Chat[P_co]:
            """Tells type checkers which message this is the reply to."""
            raise NotImplementedError


@dataclasses.dataclass(frozen=True, slots=True)
class Chat(Message[ChatReply[P]], Generic[P]):
    """Send a prompt and wait for the complete reply.

    Raises:
        InvalidPrompt: the prompt or one of its parts is empty, too large, too long (191,000
            bytes of text in UTF-8), not encodable, or of an unsupported type. The error names
            the part.
        InvalidPrompt: a timeout is not a number of seconds > 0, or the `response_schema` is not
            a pydantic model.
    """

    prompt: Any
    """Text, an image, document, audio or video of the SDK, or a sequence of these."""

    timeout: float | None = dataclasses.field(default=None, kw_only=True)
    """Seconds for the turn from its start. `None` means `AGY_ACTORS_CHAT_TIMEOUT`, or 120.

    The time includes restarts of the agent, its waking up and further attempts, but not the wait
    for other turns. A turn that has not started waits for a restart for at most this long.
    """

    stall_timeout: float | None = dataclasses.field(default=None, kw_only=True)
    """Seconds without output after which the turn fails with `TurnStalled`. `None` means
    `AGY_ACTORS_STALL_TIMEOUT`, or 60."""

    response_schema: type[P] | None = dataclasses.field(default=None, kw_only=True)
    """The pydantic model that `reply.parsed` is an instance of, also for type checkers.

    The model gets the schema of the agent's configuration, which must therefore have one, usually
    the same class. If it has no schema, the asker gets an `InvalidConfig`.
    """

    metadata: Any = dataclasses.field(default=None, kw_only=True, hash=False)
    """Any object. It comes back as `reply.metadata` and `future.metadata`, and is passed to
    nothing else."""

    lane = Lane.TURN

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        for name in ("timeout", "stall_timeout"):
            given = getattr(self, name)
            seconds = check_optional_seconds(name, given, error=InvalidPrompt)
            if seconds is not given:
                object.__setattr__(self, name, seconds)
        schema: object = self.response_schema
        if schema is not None and not (isinstance(schema, type) and issubclass(schema, BaseModel)):
            raise InvalidPrompt(f"response_schema must be a pydantic model, got {shown(schema)}")


@dataclasses.dataclass(frozen=True, slots=True)
class Send(Message[None]):
    """Send a prompt; the reply comes when the turn has started.

    Raises:
        InvalidPrompt: as for `Chat`.
    """

    prompt: Any
    """As for `Chat`."""

    lane = Lane.TURN

    def __post_init__(self) -> None:
        check_prompt(self.prompt)


@dataclasses.dataclass(frozen=True, slots=True)
class Cancel(Message[bool]):
    """Cancel the running turn. The reply, at once, is whether there was one."""


@dataclasses.dataclass(frozen=True, slots=True)
class IsIdle(Message[bool]):
    """Ask whether no turn is running or waiting."""


@dataclasses.dataclass(frozen=True, slots=True)
class WaitForIdle(Message[None]):
    """Wait until no turn is running or waiting."""

    after_turns: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True, slots=True)
class WaitForWakeup(Message[bool]):
    """Wait for the start of the next turn or for a `SignalIdle`.

    The reply is `True`, or `False` if neither happens in time.

    Raises:
        InvalidArgument: the timeout is not a number of seconds >= 0.
    """

    timeout: float | None = None
    """Seconds until the reply is `False`. `None` means `AGY_ACTORS_HANDLER_TIMEOUT`, or 60."""

    def __post_init__(self) -> None:
        seconds = check_optional_seconds("timeout", self.timeout, zero=True)
        if seconds is not self.timeout:
            object.__setattr__(self, "timeout", seconds)


@dataclasses.dataclass(frozen=True, slots=True)
class SignalIdle(Message[None]):
    """Reply to all asks with `WaitForWakeup`."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetHistory(Message[list[Step]]):
    """Ask for the steps of the conversation, each in its latest state."""


@dataclasses.dataclass(frozen=True, slots=True)
class ClearHistory(Message[None]):
    """Remove the recorded steps. The conversation itself does not change."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetTurnCount(Message[int]):
    """Ask how many turns the agent has started since it was created."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetTotalUsage(Message[UsageMetadata]):
    """Ask for the tokens that the agent has used since it was created."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetLastTurnUsage(Message[UsageMetadata | None]):
    """Ask for the tokens of the last turn that ended."""


@dataclasses.dataclass(frozen=True, slots=True)
class GetLastResponse(Message[str | None]):
    """Ask for the last complete response. The reply is `None` before the first one."""


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

    The agent's process connects to MCP servers in the first turn; their tools are known from then
    on. Builtin tools have the SDK's names (`BuiltinTools`). Tools that the process adds for its
    own use, for example to manage its tasks, are not listed. Policies decide about each call and
    hide no tool.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Disconnect(Message[None]):
    """End the agent now and keep its saved conversation."""


@dataclasses.dataclass(frozen=True, slots=True)
class Delete(Message[None]):
    """End the agent now and remove its saved conversation."""
