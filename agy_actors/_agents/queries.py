"""`Queries`: an agent's answers about itself, also while a turn runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agy_actors._actors.arguments import check_optional_seconds
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.errors import DeadlockError, UnknownMessage
from agy_actors._agents import agent_messages as messages
from agy_actors._agents.agent_statistics import AgentState, AgentStatistics
from agy_actors._agents.defaults import handler_timeout
from agy_actors._sdk.available_tools import available_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.antigravity import types as sdk

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.session_keeper import SessionKeeper
    from agy_actors._sdk.available_tools import ToolInfo

__all__ = ["ANSWERS", "Queries", "unknown_message"]


class Queries:
    """Answers queries from an agent's state, record and sessions. For the agent's loop.

    Args:
        agent: the incarnation's state.
        sessions: the agent's sessions.
        inbox: returns the agent's mailbox.
        urn: returns the agent's URN.
    """

    def __init__(
        self,
        agent: AgentIncarnation,
        sessions: SessionKeeper,
        inbox: Callable[[], Mailbox],
        urn: Callable[[], str],
    ) -> None:
        self._agent = agent
        self._sessions = sessions
        self._inbox = inbox
        self._urn = urn
        self._idle_waiters: dict[asyncio.Future[None], None] = {}
        self._wakeup_waiters: dict[asyncio.Future[None], None] = {}

    # Waiting for turns.

    @property
    def _has_no_turn(self) -> bool:
        return self._agent.state in (AgentState.IDLE, AgentState.ASLEEP)

    def is_idle(self) -> bool:
        """Return whether no turn is running or waiting."""
        return self._has_no_turn and not self._inbox().turns_waiting

    async def wait_for_idle(self) -> None:
        """Wait until the agent is idle.

        Raises:
            DeadlockError: the agent's turn waits for the code that waits here.
        """
        caller = current_caller.get()
        for frame in () if caller is None else caller.frames():
            if frame.urn == self._urn() and frame.in_turn:
                raise DeadlockError(
                    f"{self._agent} cannot become idle: its turn waits for this very code"
                )
        loop = asyncio.get_running_loop()
        while not self.is_idle():
            waiter = loop.create_future()
            self._idle_waiters[waiter] = None
            loop.call_soon(self.look_for_idle)
            try:
                await waiter
            finally:
                self._idle_waiters.pop(waiter, None)

    def look_for_idle(self) -> None:
        """Answer the askers that wait until the agent is idle, if it is."""
        if not self._idle_waiters:
            return
        if self.is_idle():
            waiters, self._idle_waiters = self._idle_waiters, {}
            _resolve(waiters)
        elif self._has_no_turn:
            # The turn that waits is about to be taken up. If its asker abandoned it, no end of a
            # turn calls this again. (An agent that ends has no turn to take up, and its end
            # answers the askers: calling this again until then would use a whole core.)
            asyncio.get_running_loop().call_soon(self.look_for_idle)

    async def wait_for_wakeup(self, message: messages.WaitForWakeup) -> bool:
        """Wait for the next turn or for `wake`, and return whether one of them came in time."""
        seconds = check_optional_seconds("timeout", message.timeout, zero=True)
        if seconds is None:
            seconds = handler_timeout()
        waiter = asyncio.get_running_loop().create_future()
        self._wakeup_waiters[waiter] = None
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._wakeup_waiters.pop(waiter, None)
        return True

    def wake(self) -> None:
        """Answer the askers that wait for a wake-up."""
        waiters, self._wakeup_waiters = self._wakeup_waiters, {}
        _resolve(waiters)

    # Facts.

    def history(self) -> list[sdk.Step]:
        """Return the steps of the conversation."""
        return list(self._agent.record.steps)

    def clear_history(self) -> None:
        """Remove the recorded steps."""
        self._agent.record.steps.clear()

    def total_usage(self) -> sdk.UsageMetadata:
        """Return the tokens that the agent has used since it was created."""
        record, session = self._agent.record, self._sessions.session
        if session is not None:
            record.count_usage(session.usage)
        return record.usage

    def conversation_id(self) -> str:
        """Return the id of the conversation that the agent uses."""
        session = self._sessions.session
        return self._agent.spec.conversation_id if session is None else session.conversation_id

    def statistics(self) -> AgentStatistics:
        """Return a snapshot of the agent."""
        agent, record, session = self._agent, self._agent.record, self._sessions.session
        return AgentStatistics(
            name=agent.spec.name,
            state=agent.state,
            turns=record.turns,
            turns_waiting=self._inbox().turns_waiting,
            restarts=record.restarts,
            total_usage=self.total_usage(),
            conversation_id=self.conversation_id(),
            harness_pid=self._sessions.pid,
            sandbox=None if session is None else session.sandbox,
            last_error=record.last_error,
            dead_letters=record.dead_letters,
        )

    async def available_tools(self) -> list[ToolInfo]:
        """Return the tools that the agent's model is offered."""
        config, conversation_id = self._agent.spec.config, self.conversation_id()
        return await asyncio.to_thread(available_tools, config, conversation_id)


ANSWERS: Mapping[type, Callable[[Queries, AgentIncarnation, Any], Any]] = {
    messages.IsIdle: lambda queries, *_: queries.is_idle(),
    messages.WaitForIdle: lambda queries, *_: queries.wait_for_idle(),
    messages.WaitForWakeup: lambda queries, _, message: queries.wait_for_wakeup(message),
    messages.SignalIdle: lambda queries, *_: queries.wake(),
    messages.GetHistory: lambda queries, *_: queries.history(),
    messages.ClearHistory: lambda queries, *_: queries.clear_history(),
    messages.GetTurnCount: lambda _, agent, __: agent.record.turns,
    messages.GetTotalUsage: lambda queries, *_: queries.total_usage(),
    messages.GetLastTurnUsage: lambda _, agent, __: agent.record.last_turn_usage,
    messages.GetLastResponse: lambda _, agent, __: agent.record.last_response(),
    messages.GetCompactionIndices: lambda _, agent, __: agent.record.compaction_indices(),
    messages.GetConversationId: lambda queries, *_: queries.conversation_id(),
    messages.GetStatistics: lambda queries, *_: queries.statistics(),
    messages.AvailableTools: lambda queries, *_: queries.available_tools(),
}
"""The method that answers each type of query."""


def _resolve(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def unknown_message(
    actor: object, message: object, answered: Iterable[str], hint: str = ""
) -> UnknownMessage:
    """Make the error for a message that an actor does not answer.

    Args:
        actor: the actor, as the error names it.
        message: the message.
        answered: the names of the public messages that it answers.
        hint: further text.
    """
    kinds = ", ".join(sorted(answered))
    name = type(message).__name__
    return UnknownMessage(f"{actor} does not answer {name}; it answers {kinds}{hint}")
