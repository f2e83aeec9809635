"""`RunningTurn`: the turn that an incarnation of an agent runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from agy_actors._agents.agent_messages import Chat
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.turn_errors import cancelled
from agy_actors._agents.turn_messages import StreamChat
from agy_actors._sdk.errors import TurnError

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Coroutine, Iterator

    from agy_actors._actors.envelope import Envelope
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.record import PendingTurn
    from agy_actors._agents.stream_buffer import StreamBuffer
    from agy_actors._agents.turn import Turn
    from agy_actors._supervision.events import AgentEvent

__all__ = ["RunningTurn"]


@dataclasses.dataclass(slots=True, eq=False)
class RunningTurn:
    """A turn of one incarnation, from when it is taken up to its end. For the agent's loop."""

    agent: AgentIncarnation
    """The state of its agent."""
    envelope: Envelope
    """Its message."""
    begun: PendingTurn | None = None
    """Its part of the record; `None` until its handler starts."""
    attempt: Turn | None = None
    """The observed steps of the present attempt; `None` until its handler starts."""
    task: asyncio.Task[Any] | None = None
    """The task of its handler."""
    stall: float = 0.0
    """Seconds without a step after which an attempt has stalled."""
    stall_timer: asyncio.Timeout | None = None
    """Ends the wait for the next step."""
    people_asked: int = 0
    """How many persons are being asked. Meanwhile silence does not count as a stall."""
    cancelled: bool = False
    """Whether its cancellation was asked for while an attempt ran, or before the first one."""
    cancelling: asyncio.Task[None] | None = None
    """Cancels the attempt in the harness."""
    waiting: asyncio.Task[None] | None = None
    """The future that it waits for, if a cancellation ends the wait."""
    error: Exception | None = None
    """The error of a tool that ends it."""
    ended: bool = False
    """Whether it has ended, in this incarnation."""
    handed_over: bool = False
    """Whether it waits to be run by the next incarnation."""
    adopted: dict[ReplyFuture[Any] | asyncio.Future[Any], None] = dataclasses.field(
        default_factory=dict
    )
    """Futures that are cancelled at its end."""

    @property
    def pending(self) -> PendingTurn:
        """Its part of the record."""
        assert self.begun is not None
        return self.begun

    @property
    def turn(self) -> Turn:
        """The observed steps of the present attempt."""
        assert self.attempt is not None
        return self.attempt

    @property
    def context(self) -> contextvars.Context | None:
        """The context variables for its tools and hooks: those of its asker."""
        observed = None if self.begun is None else self.begun.observed
        return self.envelope.context if observed is None else observed.context

    @property
    def chat(self) -> Chat[Any] | None:
        """The `Chat` that it answers; `None` if it was sent, or begun by a trigger."""
        message = self.envelope.message
        asked = message.chat if isinstance(message, StreamChat) else message
        return asked if isinstance(asked, Chat) else None

    @property
    def buffer(self) -> StreamBuffer | None:
        """The buffer that its answer is streamed to, if there is one."""
        message = self.envelope.message
        return message.buffer if isinstance(message, StreamChat) else None

    @property
    def is_streamed(self) -> bool:
        """Whether a reader of its stream may have got a part of the present attempt."""
        return self.buffer is not None and bool(self.turn.text or self.turn.thoughts)

    @property
    def may_be_silent(self) -> bool:
        """Whether it waits for a tool or a person, and not for the model."""
        return bool(self.turn.tools_at_work or self.people_asked)

    def stall_deadline(self) -> float | None:
        """Return the time, on the loop's clock, at which the attempt has stalled."""
        if self.may_be_silent:
            return None
        return asyncio.get_running_loop().time() + self.stall

    def renew_stall_timer(self) -> None:
        """Set the time again at which the attempt has stalled."""
        if self.stall_timer is not None:
            with contextlib.suppress(RuntimeError):  # It has just ended.
                self.stall_timer.reschedule(self.stall_deadline())

    def goes_on_elsewhere(self, failure: BaseException | None) -> bool:
        """Return whether the turn continues elsewhere although it stops here with this failure."""
        state = self.agent.state
        if state is AgentState.ENDED:
            # The next incarnation runs it, or it was answered when this one was abandoned.
            return True
        if not self.handed_over or state is AgentState.CLOSING:
            return False
        # It ends here if its time was over, or if its asker gave up.
        return not (isinstance(failure, TurnError) or self.pending.answered)

    async def until_cancelled(self, wait: Coroutine[Any, Any, None]) -> None:
        """Wait for a future, until the turn is cancelled.

        Raises:
            TurnCancelled: the turn was cancelled first.
        """
        waiting = self.waiting = asyncio.get_running_loop().create_task(wait)
        try:
            await waiting
        except asyncio.CancelledError:
            if self.pending.cancelled:
                raise cancelled(str(self.agent), self.turn) from None
            raise
        finally:
            self.waiting = None

    # For tools, hooks and handlers that run inside the turn.

    def fail(self, error: Exception) -> None:
        """End the turn with an error."""
        if self.task is not None and self.error is None and not self.ended:
            self.error = error
            self.task.cancel()

    def announce(self, kind: type[AgentEvent], **facts: Any) -> bool:
        """Publish an event that needs an answer, and return whether there is a subscriber."""
        return self.agent.publish(kind, **facts)

    @contextlib.contextmanager
    def person_asked(self) -> Iterator[None]:
        """Do not count silence as a stall meanwhile: the turn waits for a person."""
        self.people_asked += 1
        self.renew_stall_timer()
        try:
            yield
        finally:
            self.people_asked -= 1
            self.renew_stall_timer()

    def adopt(self, future: ReplyFuture[Any] | asyncio.Future[Any]) -> None:
        """Cancel the future when the turn ends, if it is not done by then."""
        if self.ended or self.cancelled:
            future.cancel()
        else:
            self.adopted[future] = None

    def cancel_adopted(self) -> None:
        """Cancel the futures that end with the turn."""
        adopted, self.adopted = self.adopted, {}
        for future in adopted:
            future.cancel()
