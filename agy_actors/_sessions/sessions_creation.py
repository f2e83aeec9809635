"""The message that creates sessions, and the checks of its arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable  # noqa: TC003 (for `typing.get_type_hints`)
from typing import ClassVar

from google.antigravity import AgentConfig  # noqa: TC002 (likewise)

from agy_actors._actors.arguments import check_integer, check_seconds
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.message import Message
from agy_actors._agents.budget import Budget  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._agents.creation_messages import fix_creation
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._sessions.sessions_ref import Sessions
from agy_actors._supervision.creation import Creation
from agy_actors._supervision.restart_policy import Restart

__all__ = ["CreateSessions", "GetSessions", "check_sessions"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateSessions(Creation[Sessions]):
    """Create sessions: one agent for each key. The reply is their ref."""

    kind: ClassVar[str] = "sessions"
    """The kind of child, for generated names."""

    config: AgentConfig | Callable[[str], AgentConfig] = dataclasses.field(repr=False)
    """The SDK's configuration of each session, or a function that returns that of a key."""

    name: str | None = None
    """Their name under this supervisor; `None` generates one."""

    max_awake: int = 64
    """How many sessions may have their conversation open at a time."""

    idle_timeout: float | None = 300.0
    """Seconds without a turn after which a session closes its conversation; `None` for never."""

    capacity: int = 1000
    """How many turns wait in all before a sender gets `MailboxFull`."""

    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    """When a failed turn is retried."""

    max_restarts: int = 5
    """How many restarts of a session's agent are allowed `within` these seconds."""

    within: float = 60.0
    """The window of `max_restarts`, in seconds."""

    keep_results: float = 86_400.0
    """Seconds for which the results of durable requests are kept."""

    budget: Budget | None = None
    """Limits the tokens of all their turns; `None` for no limit of their own."""

    restart: ClassVar[Restart] = Restart.PERMANENT
    """Sessions that fail as a whole are restarted."""

    def __post_init__(self) -> None:
        fix_creation(self)


@dataclasses.dataclass(frozen=True, slots=True)
class GetSessions(Message[dict[str, Sessions]]):
    """Ask for the sessions directly below this supervisor by name, in the order of their start."""


def check_sessions(message: CreateSessions) -> None:
    """Refuse invalid arguments of sessions.

    Raises:
        InvalidConfig: names the invalid argument, and valid values.
    """
    for field in ("max_awake", "capacity"):
        check_integer(field, getattr(message, field), least=1, error=InvalidConfig)
    check_integer("max_restarts", message.max_restarts, least=0, error=InvalidConfig)
    check_seconds("within", message.within, error=InvalidConfig)
    check_seconds("keep_results", message.keep_results, error=InvalidConfig)
    if message.idle_timeout is not None:
        check_seconds("idle_timeout", message.idle_timeout, error=InvalidConfig)
    if not isinstance(message.retry, RetryPolicy):
        raise InvalidConfig(f"retry must be an agy_actors.RetryPolicy, got {message.retry!r}")
