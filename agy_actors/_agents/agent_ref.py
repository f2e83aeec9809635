"""`AgentRef`: a reference to an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka

from agy_actors._actors import forks
from agy_actors._actors.actor_ref import AsyncioActorRef
from agy_actors._actors.call_chain import chain_to, current_caller
from agy_actors._actors.envelope import Envelope
from agy_actors._actors.future_owner import fail, set_about
from agy_actors._agents.agent_messages import Chat, P
from agy_actors._agents.agent_tool import make_tool
from agy_actors._agents.ask_counts import AskCounts
from agy_actors._agents.chat_stream import ChatStream
from agy_actors._agents.stream_buffer import StreamBuffer
from agy_actors._agents.turn_messages import StreamChat

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._actors.message import Message
    from agy_actors._agents.agent_actor import AgentActor
    from agy_actors._agents.agent_messages import ChatReply

__all__ = ["AgentRef", "as_message", "stream_from"]

R = TypeVar("R")


class AgentRef(AsyncioActorRef):
    """A reference to an agent. Thread-safe. It stays valid across restarts.

    `ask`, `tell`, `stop` and `is_alive` are pykka's, typed by the message.
    """

    _instead_of_pickling = (
        "send the agent's name and look it up in the process that has it"
        " (`supervisor.children()[name]`), or start a supervisor and agents in the other process"
    )

    _call_instead = (
        "create the agent with `supervisor.create_agent(...)`, which returns its ref, or look it up"
        " with `supervisor.children()[name]`"
    )

    name: str
    """The agent's name under its supervisor."""

    def __init__(self, actor: AgentActor) -> None:
        super().__init__(actor)
        self.name = actor.spec.name
        self._asks = AskCounts(actor.spec.hub.counts)

    def __repr__(self) -> str:
        return f"<AgentRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"agent {self.name!r}"

    @overload  # type: ignore[override] # as the base class, with text
    def ask(
        self, message: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> ChatReply: ...

    @overload
    def ask(
        self, message: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self, message: str, *, block: bool, timeout: float | None = None
    ) -> ChatReply | ReplyFuture[ChatReply]: ...

    @overload
    def ask(
        self, message: Message[R], *, block: Literal[True] = True, timeout: float | None = None
    ) -> R: ...

    @overload
    def ask(
        self, message: Message[R], *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[R]: ...

    @overload
    def ask(
        self, message: Message[R], *, block: bool, timeout: float | None = None
    ) -> R | ReplyFuture[R]: ...

    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any: ...

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as the base class
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a message and return its reply, or the future of the reply.

        Args:
            message: a message that agents answer, or the prompt of a `Chat` as text.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; see `AsyncioActorRef.ask`.

        Raises:
            InvalidPrompt: the text is not a valid prompt.
            UnknownMessage: agents do not answer such a message. The error names those that agents
                answer.

        It also raises what `AsyncioActorRef.ask` raises.
        """
        message = as_message(message)
        try:
            reply = super().ask(message, block=block, timeout=timeout)
        except BaseException as error:
            self._asks.note_error(message, error)
            raise
        if block and isinstance(message, Chat):
            self._asks.note_answer()
        else:
            self._asks.note_reply(message, reply)
        return reply

    def tell(self, message: Any) -> None:
        """Send a message without waiting for a reply.

        The message never ends the agent: if the agent does not answer it, it becomes a
        `DeadLetter`.

        Args:
            message: a message that agents answer, or the prompt of a `Chat` as text.

        Raises:
            InvalidPrompt: the text is not a valid prompt.
            AgentDeadError: the agent has ended.
            MailboxFull: too many turns wait already.
        """
        super().tell(as_message(message))

    def _told(self, message: Any) -> Any:
        return as_message(message)

    def stream(self, message: Chat[P] | str) -> ChatStream[P]:
        """Send a prompt and read the reply as it comes.

        Args:
            message: a `Chat`, or its prompt.

        Raises:
            InvalidPrompt: the prompt is not valid.
            DeadlockError: the agent waits for the code that would read the stream.
            MailboxFull: too many turns wait already.

        If the agent has ended, reading the stream raises an `AgentDeadError`.
        """
        return stream_from(self, message, lambda chat: chat, self._asks)

    def as_tool(
        self, name: str, description: str, *, timeout: float | None = None
    ) -> Callable[[str], Coroutine[Any, Any, str]]:
        """Make a tool that asks this agent, for the `tools` of another agent's configuration.

        The other agent's model calls the tool with a prompt and gets the text of this agent's
        reply, or its error. When the other agent's turn ends, the turn here ends too.

        Args:
            name: the tool's name, for the model.
            description: the tool's purpose, for the model.
            timeout: seconds for each turn, as for `Chat`.

        Raises:
            InvalidConfig: the name is invalid, the description is empty, or the timeout is not
                a number of seconds > 0.

        If agents are tools of each other in a circle, a turn that would wait for itself ends with
        a `DeadlockError` that names the circle, and so do all turns of the circle.
        """
        forks.check(self.actor_inbox.made_in)
        return make_tool(
            lambda chat: stream_from(self, chat, lambda m: m, self._asks, blocking=False),
            name,
            description,
            timeout,
        )


def stream_from(
    ref: AsyncioActorRef,
    message: Chat[P] | str,
    wrap: Callable[[StreamChat], Message[Any]],
    asks: AskCounts,
    *,
    blocking: bool = True,
) -> ChatStream[P]:
    """Stream from an agent or a pool. See `AgentRef.stream`."""
    chat: Chat[Any] = message if isinstance(message, Chat) else Chat(message)
    caller = current_caller.get()
    frames = () if caller is None else chain_to(ref, chat, caller, blocking=blocking)
    buffer = StreamBuffer()
    set_about(buffer.future, chat, ref)
    try:
        ref.actor_inbox.put(Envelope(wrap(StreamChat(chat, buffer)), buffer.future, frames))
    except pykka.ActorDeadError as error:
        fail(buffer.future, error)
    except BaseException as error:  # For example, the mailbox is full.
        buffer.future.cancel()
        asks.note_error(chat, error)
        raise
    buffer.future.add_done_callback(asks.note_done)
    return ChatStream(buffer)


def as_message(message: Any) -> Any:
    """Return a `Chat` with the text as its prompt, or the message if it is not text."""
    return Chat(message) if isinstance(message, str) else message
