"""A reference to an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import pykka
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._agent._actor import AgentActor, StreamChat
from agy_actors._agent._as_tool import make_tool
from agy_actors._agent._messages import Chat
from agy_actors._agent._stream import ChatStream, Tape
from agy_actors._kernel import (
    AsyncioActorRef,
    DeathReason,
    Envelope,
    current_caller,
    fail,
    forks,
    resolve,
)
from agy_actors._kernel._callers import chain_to

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agy_actors._agent._replies import ChatReply
    from agy_actors._kernel import Message, ReplyFuture

__all__ = ["AgentRef", "as_message"]

R = TypeVar("R")


class AgentRef(AsyncioActorRef):
    """A reference to an agent, for every thread. It stays valid across restarts.

    `ask`, `tell`, `stop` and `is_alive` are pykka's, typed by the message.
    """

    _instead_of_pickling = (
        "send the agent's name and look it up in the process that has it"
        " (`supervisor.children()[name]`), or start a supervisor and agents in the other process"
    )

    def __init__(self, actor: AgentActor) -> None:
        super().__init__(actor)
        self.name = actor.spec.name

    def __repr__(self) -> str:
        return f"<AgentRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"agent {self.name!r}"

    @overload  # type: ignore[override] # as the kernel's, with text
    def ask(
        self, message: str, *, block: Literal[True] = True, timeout: float | None = None
    ) -> ChatReply: ...

    @overload
    def ask(
        self, message: str, *, block: Literal[False], timeout: float | None = None
    ) -> ReplyFuture[ChatReply]: ...

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

    def ask(  # pyright: ignore[reportIncompatibleMethodOverride] # as the kernel's
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any:
        """Send a message and wait for its reply, or only for the future of it.

        Args:
            message: a message that agents answer, or text: the prompt of a `Chat`.
            block: wait for the reply and return it; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking; see `AsyncioActorRef.ask`.

        Raises:
            InvalidPrompt: the text cannot be asked.
            UnknownMessage: an agent does not answer such a message. Names those it does.

        And what `AsyncioActorRef.ask` raises.
        """
        return super().ask(as_message(message), block=block, timeout=timeout)

    def tell(self, message: Any) -> None:
        """Send a message and do not wait for anything.

        Whatever is told, the agent goes on: a message that it does not answer is a
        `DeadLetter`.

        Args:
            message: a message that agents answer, or text: the prompt of a `Chat`.

        Raises:
            InvalidPrompt: the text cannot be asked.
            AgentDeadError: the agent has ended.
            MailboxFull: too many turns wait already.
        """
        super().tell(as_message(message))

    def stream(self, message: Chat | str) -> ChatStream:
        """Have a turn and read its answer as it comes.

        Args:
            message: a `Chat`, or just its prompt.

        Raises:
            InvalidPrompt: the prompt cannot be asked.
            DeadlockError: the agent waits for the code that would read the stream.
            MailboxFull: too many turns wait already.

        An agent that has ended shows as an `AgentDeadError` from the stream.
        """
        return AgentRef.stream_to(self, message, lambda chat: chat)

    def as_tool(
        self, name: str, description: str, *, timeout: float | None = None
    ) -> Callable[[str], Coroutine[Any, Any, str]]:
        """Make a tool of this agent, for the `tools` of another's configuration.

        The other's model calls it with a prompt, and is given the text of this agent's
        answer, or told of its error. When the other's turn ends, so does this one's.

        Args:
            name: the tool's name, for the model.
            description: what the tool is good for, for the model.
            timeout: seconds for each call's turn, as of `Chat`.

        Raises:
            InvalidConfig: the name is none, the description is empty, or the timeout is
                not above 0.

        Where agents are tools of each other in a circle, a turn that comes to itself
        again ends with the `DeadlockError` that names the circle, and all turns of the
        circle with it.
        """
        forks.check(self.actor_inbox.made_in)
        return make_tool(
            lambda chat: AgentRef.stream_to(self, chat, lambda m: m, blocking=False),
            name,
            description,
            timeout,
        )

    @staticmethod
    def stream_to(
        ref: AsyncioActorRef,
        message: Chat | str,
        wrap: Callable[[StreamChat], Message[Any]],
        *,
        blocking: bool = True,
    ) -> ChatStream:
        """Stream from an agent, or from what stands before several. See `stream`."""
        chat = message if isinstance(message, Chat) else Chat(message)
        caller = current_caller.get()
        frames = () if caller is None else chain_to(ref, chat, caller, blocking=blocking)
        tape = Tape()
        tape.future.about = (chat, ref)
        try:
            ref.actor_inbox.put(Envelope(wrap(StreamChat(chat, tape)), tape.future, frames))
        except pykka.ActorDeadError as error:
            tape.future.fail(error)
        except BaseException:  # The mailbox is full, or the pool refuses the key, say.
            tape.future.cancel()
            raise
        return ChatStream(tape)

    def bury(self, error: Exception, reason: DeathReason = DeathReason.STOPPED) -> list[object]:
        """Declare the agent dead while no incarnation of it runs. For its supervisor.

        Args:
            error: what those get that wait, and those that ask from now on.
            reason: what watchers are told; nothing if they were told before.

        Returns:
            The messages that were told and not asked, and that nobody will handle.
        """
        if not self.actor_stopped.is_set():
            pykka.ActorRegistry.unregister(self)
            self.actor_stopped.set()
        dead_letters = []
        for envelope in self.actor_inbox.close(lambda: _again(error)):
            reply_to: pykka.Future[Any] | None = envelope.reply_to
            if isinstance(envelope.message, _ActorStop):
                resolve(reply_to, None)
            elif reply_to is not None:
                fail(reply_to, _again(error))
            else:
                dead_letters.append(envelope.message)
        self.actor_stopped.die(reason, error if reason is DeathReason.GIVEN_UP else None)
        return dead_letters


def as_message(message: Any) -> Any:
    """Return the `Chat` with a text as its prompt; any other message as it is."""
    return Chat(message) if isinstance(message, str) else message


def _again(error: Exception) -> Exception:
    """Make the error anew: one exception object must not be raised by many threads."""
    again = type(error)(*error.args)
    again.__cause__ = error.__cause__
    return again
