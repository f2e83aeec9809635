"""`TurnCaller`: the turn inside which a tool or a hook asks an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.call_chain import Frame, activity_of, call_task, current_caller

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from agy_actors._actors.actor import AsyncioActor
    from agy_actors._actors.call_chain import Activity
    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.running_turn import RunningTurn
    from agy_actors._agents.turn_runner import TurnRunner

__all__ = ["TurnCaller", "running_turn"]


class TurnCaller:
    """Names the running turn as the caller of the asks of a session's tools and hooks.

    Other code that the SDK calls, such as a trigger, has the same context but belongs to no turn.
    Neither does code that still runs after the session has ended.

    Args:
        actor: the agent's actor.
        thread_id: the thread of its loop.
        name: the agent's name.
        turns: runs the agent's turns.
        is_present: returns whether the session is the agent's.
    """

    def __init__(
        self,
        actor: AsyncioActor,
        thread_id: int,
        name: str,
        turns: TurnRunner,
        is_present: Callable[[], bool],
    ) -> None:
        self._actor = actor
        self.thread_id = thread_id
        self._name = name
        self._turns = turns
        self._is_present = is_present

    def frames(self) -> tuple[Frame, ...]:
        actor = self._actor
        turn = self._envelope
        in_turn = turn is not None
        frame = Frame(actor.actor_urn, self._name, in_turn, loop_blocked=False)
        return (frame,) if turn is None else (*turn.frames, frame)

    def activity(self, task: asyncio.Task[Any] | None) -> Activity | None:
        return activity_of(self._actor, self._envelope, task)

    def running_turn(self) -> RunningTurn | None:
        """Return the agent's turn, if one runs and the session is the agent's."""
        return self._turns.running if self._is_present() else None

    @property
    def _envelope(self) -> Envelope | None:
        call = call_task.get()
        if call is None or call.done() or not self._is_present():
            return None
        return self._turns.envelope


def running_turn() -> RunningTurn | None:
    """Return the turn in which this code runs, if it is a tool's or a hook's."""
    caller = current_caller.get()
    return caller.running_turn() if isinstance(caller, TurnCaller) else None
