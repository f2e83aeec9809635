"""A snapshot of all agents under a supervisor.

It reads the thread-safe data of agents, pools and supervisors: plain attributes, and sums that
agents update (`Tally`). It sends no messages, so it never waits for an agent that hangs, starts or
is busy, nor for a supervisor below. Each part is correct for one moment, but not all parts for the
same moment.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agy_actors._agents.agent_child import AgentChild
from agy_actors._agents.supervisor_statistics import SupervisorStatistics
from agy_actors._sessions.sessions_actor import SessionsActor
from agy_actors._supervision.pool_actor import PoolActor
from agy_actors._supervision.supervisor_child import SupervisorChild

if TYPE_CHECKING:
    from agy_actors._agents.agent_resources import AgentResources
    from agy_actors._supervision.owner_actor import OwnerActor

__all__ = ["describe_tree"]


def describe_tree(root: OwnerActor) -> SupervisorStatistics:
    """Return a snapshot of a supervisor and all below it. Thread-safe."""
    states: Counter[str] = Counter()
    actors = supervisors = pools = sessions = waiting = 0
    resources: AgentResources = root.context.kinds.shared
    budgets = {owned.budget: owned for owned in resources.budgets.owned}
    left = [root]
    while left:
        owner = left.pop()
        budgets |= {owned.budget: owned for owned in owner.context.kinds.shared.budgets.owned}
        waiting += owner.turns_queued
        # A copy, made by one call: another thread may change the dictionary.
        for child in list(owner.lifecycle.children.values()):
            if isinstance(child, AgentChild):
                state = child.state
                states[state] += 1
                budgets |= {owned.budget: owned for owned in child.spec.budgets.owned}
                waiting += child.ref.actor_inbox.turns_waiting + (state == "waiting")
                continue
            if not isinstance(child, SupervisorChild):
                actors += 1
                continue
            left.append(child.actor)
            match child.actor:
                case PoolActor():
                    pools += 1
                case SessionsActor():
                    sessions += 1
                case _:
                    supervisors += 1
    sums = resources.tally.read()
    return SupervisorStatistics(
        name=root.name,
        agents=states,
        actors=actors,
        supervisors=supervisors,
        pools=pools,
        sessions=sessions,
        turns=sums.turns,
        turns_waiting=waiting,
        restarts=sums.restarts,
        total_usage=sums.usage,
        budgets=tuple(owned.read() for owned in budgets.values()),
    )
