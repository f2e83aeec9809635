"""`ObservedTurn`: what observes one turn, such as telemetry. See `turn_observer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from google.antigravity.types import Step, UsageMetadata

    from agy_actors._agents.agent_messages import ChatReply

__all__ = ["ObservedTurn"]


class ObservedTurn(Protocol):
    """Observes one turn of an agent, with all its attempts."""

    @property
    def context(self) -> contextvars.Context | None:
        """The context variables for the turn's tools and hooks."""
        ...

    @property
    def log_fields(self) -> dict[str, str]:
        """The fields that identify the turn in the records of the log."""
        ...

    def note(self, event: str, **facts: str | float | bool) -> None:
        """Note an event of the turn, such as a wait.

        Args:
            event: `wait`, `crash`, `hang`, `restart` or `retry`.
            facts: the event's data, without secrets.
        """

    def begin_attempt(self, number: int, conversation_id: str) -> None:
        """Note that a prompt is sent to the model."""

    def see_step(self, step: Step) -> None:
        """Take a step of the present attempt."""

    def end_attempt(self, number: int, error: str | None, reply: ChatReply | None) -> None:
        """Note the end of an attempt. The thread of an incarnation that hung may be late.

        Args:
            number: its number, from 1.
            error: the type and the text of its error, without secrets; `None` if it has a reply.
            reply: its reply.
        """

    def call_tool(
        self, name: str, arguments: dict[str, Any]
    ) -> AbstractContextManager[Callable[[BaseException], None]]:
        """Return the context manager in which a tool of the agent's configuration is called.

        It gives a function for the tool's error. Other exceptions, such as a cancellation, are
        passed on.
        """
        ...

    def end(self, error: str | None, usage: UsageMetadata | None) -> None:
        """Note the turn's end. Nothing follows.

        Args:
            error: the name of its error's type; `None` if it was answered.
            usage: the tokens of all its attempts.
        """
