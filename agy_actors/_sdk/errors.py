"""The errors of agents and of their turns."""

from __future__ import annotations

import math

from google.antigravity.types import ToolCall  # noqa: TC002 (for `typing.get_type_hints`)

from agy_actors._actors.errors import ActorDeadError, AgyActorsError, InvalidConfig
from agy_actors._supervision.errors import ActorStartError

__all__ = [
    "RENEWING",
    "AgentDeadError",
    "AgentStartError",
    "BudgetExceeded",
    "CompactionFailed",
    "ConversationCorrupt",
    "ConversationInUse",
    "HookError",
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
"""HTTP statuses after which a retry may succeed, by RFC 9110; 529 by custom of model services."""


class InvalidPrompt(AgyActorsError, ValueError):
    """Raised when a message is created with an invalid prompt."""


class AgentStartError(ActorStartError):
    """Raised when the first start of an agent fails. Nothing of the agent is left."""


class UnusableConfig(InvalidConfig, AgentStartError):
    """Raised when an agent cannot start with its configuration, before anything starts.

    The SDK rejects the configuration, or a file or program that it names is missing or invalid.
    """


class ConversationInUse(AgentStartError):
    """Raised when an agent cannot open a conversation that another agent or program has open.

    It is raised when an agent is created, and for a turn that has to wake a sleeping agent. That
    agent stays asleep and tries again at its next turn.
    """

    conversation_id: str
    """The id of the conversation."""

    pid: int | None
    """The id of the process that has it open; `None` if unknown."""

    host: str | None
    """The name of the computer on which that process runs; `None` if unknown."""

    since: float | None
    """When that process opened it, in seconds since the epoch; `None` if unknown."""

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


class ConversationCorrupt(AgentStartError):
    """Raised when the compressed file of a conversation is damaged, so it cannot be opened.

    The file is not changed. A retry fails in the same way until the file is replaced or removed.
    """

    path: str
    """The path of the damaged file."""

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class AgentDeadError(ActorDeadError):
    """Raised for an ask to an agent that has ended, or that ends before it replies."""


class TurnError(AgyActorsError):
    """The base class of the errors that end a turn without a reply."""

    text: str
    """The model's text before the error."""

    tool_calls: tuple[ToolCall, ...]
    """The tool calls before the error. They may have had side effects."""

    def __init__(
        self, message: str, *, text: str = "", tool_calls: tuple[ToolCall, ...] = ()
    ) -> None:
        super().__init__(message)
        self.text = text
        self.tool_calls = tool_calls


class ModelError(TurnError):
    """Raised when the model's service reports an error or violates its protocol."""

    status: int | None
    """The HTTP status; `None` if there was none, such as when the connection broke."""

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
    """Raised when the model's service returns 429: the quota of the API key is exhausted."""

    retry_after: float | None
    """Seconds after which the service asks for a retry; `None` if it does not say."""

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


class BudgetExceeded(TurnError):
    """Raised for a turn that is not started because a `Budget` is used up."""

    budget: str
    """Whose budget it is, such as `"pool 'workers'"`."""

    tokens: int
    """How many tokens may be used in the window of the budget."""

    within: float
    """The length of the window, in seconds; infinity for a window without an end."""

    retry_after: float
    """Seconds after which a turn can start; infinity if the window has no end."""

    def __init__(
        self,
        message: str,
        *,
        budget: str = "",
        tokens: int = 0,
        within: float = math.inf,
        retry_after: float = math.inf,
        text: str = "",
        tool_calls: tuple[ToolCall, ...] = (),
    ) -> None:
        super().__init__(message, text=text, tool_calls=tool_calls)
        self.budget = budget
        self.tokens = tokens
        self.within = within
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:  # type: ignore[override] # known for each error alone
        """Whether the same turn may succeed later: not if the window has no end."""
        return not math.isinf(self.retry_after)


class CompactionFailed(TurnError):
    """Raised when a conversation cannot continue because its context could not be summarised.

    The request for a summary failed in an earlier turn. The harness never repeats it, and ends
    each turn with the same error without a request to the model. Conversations are repaired when
    they are opened, so this is raised only if that was not possible. Use a new conversation.
    """


class InvalidOutput(TurnError):
    """Raised when a reply does not match the `response_schema`, or is not structured."""

    retryable = True


class TurnCancelled(TurnError):
    """Raised when a turn was cancelled."""


class TurnDenied(TurnError):
    """Raised when a hook denied the prompt of a turn. The model got no request."""


class HookError(TurnError):
    """Raised when a hook, a policy or a handler failed in a turn."""

    hook: str
    """The kind and the name of the hook, as in "pre_turn hook 'check_budget'"."""

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
    """Raised when a turn cannot start: an MCP server does not start, or a schema is invalid."""

    culprit: str
    """The server or the schema, as in "MCP server 'shop'"."""

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
        """Whether the same turn may succeed later, such as when a server did not respond."""
        return self._retryable


class TurnInterrupted(TurnError):
    """Raised when a crash interrupted the turn and a retry might repeat its side effects."""

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
        """Whether the same turn may succeed later. `False` if it crashed its agent twice."""
        return self._retryable


class TurnStalled(TurnError):
    """Raised when the model sends nothing for the `stall_timeout` of a turn."""

    retryable = True


class TurnTimeout(TurnError, TimeoutError):
    """Raised when a turn does not end within its timeout."""

    retryable = True


RENEWING = (ModelError, CompactionFailed, SetupError)
"""Errors of the model's service, and of the harness at the start of a turn. The harness may close
the connection after them. The agent then opens a new session, which is not a crash."""
