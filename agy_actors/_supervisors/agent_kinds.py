"""`AgentKinds`: the kinds of children of a supervisor of agents, and the messages about them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import pykka

from agy_actors._actors.arguments import check_flag
from agy_actors._actors.errors import InvalidConfig
from agy_actors._agents import creation_messages as messages
from agy_actors._agents.agent_child import AgentChild
from agy_actors._agents.agent_pool import Pool
from agy_actors._agents.agent_ref import AgentRef
from agy_actors._agents.load_messages import GetLoad
from agy_actors._agents.make_agent_child import make_agent_child, make_agent_spec
from agy_actors._agents.pool_creation import CreatePool, GetPools, create_member
from agy_actors._agents.pool_ref import PoolRef
from agy_actors._agents.rate_limit import GetPace
from agy_actors._agents.start_failure import ended_early_error, start_error
from agy_actors._agents.supervisor_statistics import GetSupervisorStatistics
from agy_actors._sdk.errors import AgentDeadError
from agy_actors._sessions.session_keys import folder_of
from agy_actors._sessions.sessions_actor import SessionsActor
from agy_actors._sessions.sessions_creation import CreateSessions, GetSessions, check_sessions
from agy_actors._sessions.sessions_ref import Sessions
from agy_actors._supervision.child_kinds import ChildKinds
from agy_actors._supervision.context_below import context_below
from agy_actors._supervision.owner_ref import OwnerRef
from agy_actors._supervision.pool_options import check_pool
from agy_actors._supervision.supervisor_actor import make_supervisor
from agy_actors._supervision.supervisor_child import SupervisorChild
from agy_actors._supervisors.supervisor_ref import CreateSupervisor, GetSupervisors, SupervisorRef
from agy_actors._supervisors.tree_statistics import describe_tree
from agy_actors._supervisors.unanswered import unanswered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.errors import ActorDeadError, UnknownMessage
    from agy_actors._agents.agent_resources import AgentResources
    from agy_actors._supervision.claims import Claims
    from agy_actors._supervision.owner_actor import OwnerActor
    from agy_actors._supervision.supervisor_actor import SupervisorActor

__all__ = ["AgentKinds"]

R = TypeVar("R", bound="AsyncioActorRef")


class AgentKinds(ChildKinds):
    """Agents, pools of agents, sessions, and supervisors of these.

    Args:
        resources: what the agents of the supervisor share.
    """

    dead_error: ClassVar[type[ActorDeadError]] = AgentDeadError

    def __init__(self, resources: AgentResources) -> None:
        self.shared: AgentResources = resources

    def below(self, name: str, message: Any) -> Self:
        owner = f"{message.kind} {name!r}"
        return type(self)(self.shared.below(getattr(message, "budget", None), owner))

    def start(self, owner: OwnerActor) -> None:
        self.shared.start(owner)

    async def stop(self) -> None:
        await self.shared.stop()

    def stop_last(self) -> list[Awaitable[object]]:
        return self.shared.stop_last()

    def clean_up(self) -> None:
        self.shared.clean_up()

    def start_error(self, ref: AsyncioActorRef, reason: str, error: Exception) -> Exception:
        return start_error(ref, reason, error)

    def ended_early_error(self, ref: AsyncioActorRef) -> Exception:
        return ended_early_error(ref)

    def unknown_message(
        self, owner: object, message: object, answered: Iterable[type]
    ) -> UnknownMessage:
        return unanswered(owner, message, answered)


def _make_pool(
    owner: OwnerActor, name: str, message: CreatePool, claims: Claims
) -> SupervisorChild:
    check_pool(message)
    check_flag("keep_conversation", message.keep_conversation, error=InvalidConfig)
    # An error in the configuration of its members is raised before any of them starts.
    make_agent_spec(owner, name, create_member(message, name))
    lifecycle = owner.lifecycle
    pool = Pool(
        message,
        name=name,
        backoff=lifecycle.backoff,
        hang_timeout=lifecycle.hang_timeout,
        context=context_below(owner, name, message),
        handlers=_QUESTIONS,
    )
    return SupervisorChild(pool, restart=message.restart, claims=claims, **lifecycle.new_futures())


def _make_sessions(
    owner: OwnerActor, name: str, message: CreateSessions, claims: Claims
) -> SupervisorChild:
    check_sessions(message)
    lifecycle = owner.lifecycle
    resources: AgentResources = owner.context.kinds.shared
    sessions = SessionsActor(
        message,
        folder_of(resources.save_dir, owner.context.path + name),
        name=name,
        backoff=lifecycle.backoff,
        hang_timeout=lifecycle.hang_timeout,
        context=context_below(owner, name, message),
        handlers=_QUESTIONS,
    )
    # An error in the configuration is raised before anything starts.
    sessions.check_config()
    return SupervisorChild(
        sessions, restart=message.restart, claims=claims, **lifecycle.new_futures()
    )


def _get_or_create_agent(
    owner: SupervisorActor, message: messages.GetOrCreateAgent
) -> Coroutine[Any, Any, Any]:
    return owner.creation.get_or_create(owner.reply_to, message, make_agent_child, AgentChild)


def _living(owner: OwnerActor, kind: type[R]) -> dict[str, R]:
    """Return the children of a kind, without those that are ending."""
    refs = {name: child.ref for name, child in owner.lifecycle.children.items()}
    return {name: ref for name, ref in refs.items() if isinstance(ref, kind) and ref.is_alive()}


async def _count_agents(owner: OwnerActor, message: messages.GetActiveAgentCount) -> int:
    below = [ref.ask(message, block=False) for ref in _living(owner, OwnerRef).values()]
    total = len(_living(owner, AgentRef))
    for answer in below:
        with contextlib.suppress(pykka.ActorDeadError):  # It ended meanwhile.
            total += await answer
    return total


async def _ask_keeper(owner: OwnerActor, message: GetPace | GetLoad) -> Any:
    resources: AgentResources = owner.context.kinds.shared
    keeper = resources.pace.keeper
    return {} if keeper is None else await keeper.ask(message, block=False)


_QUESTIONS: Mapping[type, Callable[[Any, Any], Any]] = {
    messages.GetChildren: lambda owner, _: _living(owner, AgentRef),
    messages.GetActiveAgentCount: _count_agents,
    GetPools: lambda owner, _: _living(owner, PoolRef),
    GetSessions: lambda owner, _: _living(owner, Sessions),
    GetSupervisors: lambda owner, _: _living(owner, SupervisorRef),
    GetSupervisorStatistics: lambda owner, _: describe_tree(owner),
    GetLoad: _ask_keeper,
    GetPace: _ask_keeper,
}
"""The messages that supervisors and pools of agents answer."""

AgentKinds.makers = {
    messages.CreateAgent: make_agent_child,
    CreateSupervisor: make_supervisor,
    CreatePool: _make_pool,
    CreateSessions: _make_sessions,
}
AgentKinds.handlers = {**_QUESTIONS, messages.GetOrCreateAgent: _get_or_create_agent}
