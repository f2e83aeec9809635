"""What an agent's asker can be told, each with one line on when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka

from agy_actors._kernel import AgyActorsError

if TYPE_CHECKING:
    from google.antigravity.types import ToolCall

__all__ = [
    "RENEWING",
    "AgentDeadError",
    "AgentStartError",
    "CompactionFailed",
    "ConversationInUse",
    "HookError",
    "InvalidConfig",
    "InvalidOutput",
    "InvalidPrompt",
    "ModelError",
    "QuotaExceeded",
    "SetupError",
    "TurnCancelled",
    "TurnDenied",
    "TurnError",
    "TurnInterrupted",
    "TurnStalled",
    "TurnTimeout",
    "UnusableConfig",
]

_RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""HTTP statuses that say "later", by RFC 9110 and, for 529, by custom of model services."""


class InvalidConfig(AgyActorsError, ValueError):
    """Raised before anything starts, when an agent or a supervisor cannot be as described."""


class InvalidPrompt(AgyActorsError, ValueError):
    """Raised when a message is made with a prompt that no model can be asked."""


class AgentStartError(AgyActorsError):
    """Raised to whoever creates an agent that does not come up. Nothing of it is left."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same start may succeed later: not if the configuration is at fault."""
        return self._retryable


class UnusableConfig(InvalidConfig, AgentStartError):
    """Raised before anything starts, when an agent cannot start with its configuration.

    What is wrong was found by the SDK, or in a file or a program that the configuration names.
    """


class ConversationInUse(AgentStartError):
    """Raised when a conversation is to be opened that another agent or program has open.

    Whoever creates an agent gets it, and so does the asker of a turn for which a sleeping
    agent would have to wake. That agent stays asleep and tries again at its next turn.
    """

    conversation_id: str
    """The conversation."""

    pid: int | None
    """The process that has it open, or `None` if that is unknown."""

    host: str | None
    """The name of the host on which that process runs, or `None` if that is unknown."""

    since: float | None
    """Since when it has been open, in seconds since the epoch, or `None` if that is unknown."""

    def __init__(
        self,
        message: str,
        *,
        conversation_id: str = "",
        pid: int | None = None,
        host: str | None = None,
        since: float | None = None,
    ) -> None:
        super().__init__(message, retryable=True)
        self.conversation_id = conversation_id
        self.pid = pid
        self.host = host
        self.since = since


class AgentDeadError(AgyActorsError, pykka.ActorDeadError):
    """Raised to whoever asks an agent that has ended, or whose ask its end cut off."""


class TurnError(AgyActorsError):
    """The root of what ends a turn without a reply."""

    text: str
    """What the model had said before."""

    tool_calls: tuple[ToolCall, ...]
    """The tool calls that had been seen before; they may have had effects."""

    def __init__(
        self, message: str, *, text: str = "", tool_calls: tuple[ToolCall, ...] = ()
    ) -> None:
        super().__init__(message)
        self.text = text
        self.tool_calls = tool_calls


class ModelError(TurnError):
    """Raised when the model's service answered with an error, or not in its protocol."""

    status: int | None
    """The HTTP status, or `None` if none came (the connection broke, say)."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, text=text, tool_calls=tool_calls)
        self.status = status

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same request may succeed later."""
        return self.status is None or self.status in _RETRYABLE_STATUSES


class QuotaExceeded(ModelError):
    """Raised when the model's service answered 429: the key's quota is used up for now."""

    retry_after: float | None
    """The seconds after which the service said to come back, or `None` if it did not say."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, status=429, text=text, tool_calls=tool_calls)
        self.retry_after = retry_after


class CompactionFailed(TurnError):
    """Raised when a conversation cannot go on since its context could not be summarised.

    The request for a summary failed in an earlier turn. The harness never repeats it, and ends
    each turn with the same error without asking the model. Conversations are mended when they are
    opened, so this comes only where that was not possible. What helps is a new conversation.
    """


class InvalidOutput(TurnError):
    """Raised when an answer does not fit the `response_schema`, or is no structured one."""

    retryable = True


class TurnCancelled(TurnError):
    """Raised to the asker of a turn that somebody cancelled."""


class TurnDenied(TurnError):
    """Raised to the asker of a turn whose prompt a hook denied. The model was not asked."""


class HookError(TurnError):
    """Raised to the asker of a turn in which a hook, a policy or a handler failed."""

    hook: str
    """Its kind and its name, as in "pre_turn hook 'check_budget'"."""

    def __init__(
        self,
        message: str,
        *,
        hook: str = "",
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, text=text, tool_calls=tool_calls)
        self.hook = hook


class SetupError(TurnError):
    """Raised when a turn could not begin: an MCP server did not start, or a schema is refused."""

    culprit: str
    """What was not fit for use, as in "MCP server 'shop'"."""

    def __init__(
        self,
        message: str,
        *,
        culprit: str = "",
        retryable: bool = False,
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, text=text, tool_calls=tool_calls)
        self.culprit = culprit
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same turn may succeed later: if a server did not answer, say."""
        return self._retryable


class TurnInterrupted(TurnError):
    """Raised to the asker of a turn that a crash cut off, where asking again may not be safe."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, text=text, tool_calls=tool_calls)
        self._retryable = retryable

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same turn may succeed later: not if it crashed its agent twice."""
        return self._retryable


class TurnStalled(TurnError):
    """Raised when nothing came from a turn for its stall timeout."""

    retryable = True


class TurnTimeout(TurnError, TimeoutError):
    """Raised when a turn did not end within its timeout."""

    retryable = True


RENEWING = (ModelError, CompactionFailed, SetupError)
"""Errors that come from the model's service by way of the harness, or from the harness when it
begins a turn. It may close the connection: the agent is renewed, which is no crash."""
