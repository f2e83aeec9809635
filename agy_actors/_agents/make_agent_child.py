"""Makes an agent as the child of a supervisor or a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._agents.agent_child import AgentChild
from agy_actors._agents.agent_validation import build_spec

if TYPE_CHECKING:
    from agy_actors._agents.agent_resources import AgentResources
    from agy_actors._agents.creation_messages import CreateAgent
    from agy_actors._agents.record import AgentSpec
    from agy_actors._supervision.claims import Claims
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.restart_policy import Restart

__all__ = ["make_agent_child", "make_agent_spec", "make_child_of_spec"]


def make_agent_spec(owner: OwnerActor, name: str, message: CreateAgent) -> AgentSpec:
    """Return the `AgentSpec` of a new agent.

    Args:
        owner: its supervisor or pool.
        name: its name under the owner.
        message: the request.

    Raises:
        InvalidConfig: names the invalid argument, and valid values.
    """
    resources: AgentResources = owner.context.kinds.shared
    return build_spec(
        message,
        name,
        supervisor=owner.name,
        path=owner.context.path + name,
        save_dir=resources.save_dir,
        durable=resources.durable,
        hub=owner.lifecycle.hub,
        pace=resources.pace,
        slots=resources.slots,
        budgets=resources.budgets,
        process_pool=resources.process_pool,
    )


def make_agent_child(
    owner: OwnerActor,
    name: str,
    message: CreateAgent,
    claims: Claims,
) -> AgentChild:
    """Make an agent as the child of a supervisor or a pool.

    Args:
        owner: the supervisor or the pool.
        name: the agent's name under the owner.
        message: the request.
        claims: who waits for its first start.

    Raises:
        InvalidConfig: names the invalid argument, and valid values.
        AgentStartError: too many files are open.
    """
    spec = make_agent_spec(owner, name, message)
    return make_child_of_spec(owner, spec, message.restart, claims)


def make_child_of_spec(
    owner: OwnerActor, spec: AgentSpec, restart: Restart, claims: Claims
) -> AgentChild:
    """Make an agent of a spec, which has the agent's name, as the child of its owner.

    Raises:
        AgentStartError: too many files are open.
    """
    resources: AgentResources = owner.context.kinds.shared
    lifecycle = owner.lifecycle
    resources.open_files.make_room(f"agent {spec.name!r}", lambda: len(lifecycle.starting))
    return AgentChild(
        spec,
        lifecycle.reporter_of(spec.name),
        tally=resources.tally,
        owners=owner.owners_of_children,
        restart=restart,
        claims=claims,
        **lifecycle.new_futures(),
    )
