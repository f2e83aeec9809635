"""Who asks, when a tool or a hook asks an actor: the turn in which it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._kernel import Frame, current_caller

if TYPE_CHECKING:
    from agy_actors._agent._turns import TurnTakingActor

__all__ = ["TurnCaller", "running_turn"]


class TurnCaller:
    """Names the running turn as the caller of what tools and hooks ask."""

    def __init__(self, actor: TurnTakingActor, thread_id: int) -> None:
        self.actor = actor
        self.thread_id = thread_id

    def frames(self) -> tuple[Frame, ...]:
        actor = self.actor
        turn = actor.turn_envelope
        frame = Frame(
            actor.actor_urn, actor.spec.name, in_turn=turn is not None, loop_blocked=False
        )
        return (frame,) if turn is None else (*turn.frames, frame)


def running_turn() -> TurnTakingActor | None:
    """Return the agent inside whose turn this code runs, if it is a tool's or a hook's."""
    caller = current_caller.get()
    return caller.actor if isinstance(caller, TurnCaller) else None
