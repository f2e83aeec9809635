"""What becomes of the turn of a loop that hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._agents import turn_errors

if TYPE_CHECKING:
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.record import AgentRecord
    from agy_actors._agents.running_turn import RunningTurn
    from agy_actors._agents.turn_attempt import TurnAttempts

__all__ = ["leave_or_end"]


def leave_or_end(
    agent: AgentIncarnation, record: AgentRecord, running: RunningTurn, attempts: TurnAttempts
) -> Exception | None:
    """Leave a turn to the next incarnation, or end it. Callable from any thread.

    Args:
        agent: the incarnation whose loop hangs.
        record: the record that the next incarnation gets.
        running: the turn.
        attempts: runs the turn's attempts.

    Returns:
        The error for the turn; `None` if the next incarnation has it.
    """
    pending, now = running.begun, agent.clock()
    if pending is None or running.attempt is None:
        return None
    error = turn_errors.cut_off(str(agent), running.attempt)
    attempts.count_crash(pending)
    if pending.observed is not None:
        pending.observed.note("hang")
        pending.observed.end_attempt(pending.attempt, f"{type(error).__name__}: {error}", None)
    decision = turn_errors.decide_retry(
        agent.spec, pending, error, streamed=running.is_streamed, now=now
    )
    if decision.delay is not None:
        pending.not_before = now + decision.delay
        return None
    record.end_turn(agent.spec, pending, now - pending.started, type(decision.error).__name__)
    return decision.error
