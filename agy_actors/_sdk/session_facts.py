"""`SessionFacts`: the properties of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.antigravity.types import StopReason

if TYPE_CHECKING:
    from google.antigravity import Agent, AgentConfig
    from google.antigravity.types import SandboxStatus, Step, UsageMetadata

    from agy_actors._sdk.adapter import Harness

__all__ = ["SessionFacts"]


class SessionFacts:
    """The part of a session that only reads."""

    closed = False
    """Whether it is closed, or being closed. Its reports no longer count then."""

    _config: AgentConfig
    _harness: Harness
    _agent: Agent

    @property
    def conversation_id(self) -> str:
        """The id of its conversation."""
        return self._config.conversation_id or ""

    @property
    def pid(self) -> int | None:
        """The process id of the harness; `None` without a process."""
        return self._harness.pid

    @property
    def history(self) -> list[Step]:
        """The steps of the conversation from before it was opened."""
        return self._agent.conversation.history

    @property
    def usage(self) -> UsageMetadata:
        """The tokens that the conversation has used so far."""
        return self._agent.conversation.total_usage

    @property
    def sandbox(self) -> SandboxStatus | None:
        """Whether there is a sandbox for commands; `None` if the harness has not reported it."""
        return self._agent.conversation.sandbox_status

    @property
    def stop_reason(self) -> StopReason:
        """Why the last turn stopped."""
        reason = getattr(self._agent.conversation, "_last_turn_stop_reason", None)
        return reason if isinstance(reason, StopReason) else StopReason.UNSPECIFIED
