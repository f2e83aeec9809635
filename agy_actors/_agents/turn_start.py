"""What comes before the start of a turn: the check of its budgets, and its waits.

It waits for the rate limit of its API key, then for a free slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.call_chain import current_caller
from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.turn_observer import note_for
from agy_actors._sdk.errors import BudgetExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._actors.envelope import Envelope
    from agy_actors._agents.agent_incarnation import AgentIncarnation
    from agy_actors._agents.record import PendingTurn
    from agy_actors._agents.turn_slots import TurnSlot

__all__ = ["check_budgets", "wait_for_start"]


def check_budgets(agent: AgentIncarnation, pending: PendingTurn) -> None:
    """Refuse the next attempt of a turn if a budget is used up.

    Raises:
        BudgetExceeded: it names the budget.
    """
    try:
        agent.spec.budgets.check(str(agent))
    except BudgetExceeded:
        pending.refusals += 1  # So a retry policy does not try for ever.
        raise


async def wait_for_start(
    agent: AgentIncarnation,
    slot: TurnSlot,
    pending: PendingTurn,
    *,
    on_wait: Callable[[], None],
) -> None:
    """Wait until the turn may start, and take a slot.

    The turn's time begins with its start: the wait for a slot is added to its deadline.

    Args:
        agent: the state of its agent.
        slot: the agent's slot.
        pending: the turn.
        on_wait: called on any thread if the turn has to wait for a slot.

    Raises:
        QuotaExceeded: the rate limit lasts longer than the turn may take.
    """
    spec, clock = agent.spec, agent.clock
    key, pace = spec.pace_key, spec.pace
    first = pending.crashes.deadline is None  # Another member of a pool may have begun it.
    while True:
        paced = pace.restricts(key)
        if paced:
            began = clock()
            await pace.wait_for_start(key, pending.seconds if first else pending.deadline - clock())
            note_for(pending, "wait", reason="quota", seconds=clock() - began)
        if not slot.take():
            began = clock()
            agent.move(AgentState.WAITING)
            try:
                # A turn that has waited for its rate limit need not queue again.
                await slot.enter(_askers(pending.envelope), first=paced, on_wait=on_wait)
            finally:
                agent.move(AgentState.BUSY)
            waited = clock() - began
            pending.deadline += waited
            pending.started += waited
            note_for(pending, "wait", reason="slot", seconds=waited)
        if paced or not pace.restricts(key):
            break
        slot.leave()  # The key was refused meanwhile: the turn would be refused too.
    if first:
        pending.deadline = clock() + pending.seconds


def _askers(envelope: Envelope) -> tuple[str, ...]:
    """Return the URNs of the agents whose turns asked for this turn."""
    frames = list(envelope.frames)
    if envelope.context is not None:
        # An asker that does not wait now may wait for the reply later.
        caller = envelope.context.get(current_caller)
        frames += () if caller is None else envelope.context.copy().run(caller.frames)
    return tuple({frame.urn: None for frame in frames if frame.in_turn})
