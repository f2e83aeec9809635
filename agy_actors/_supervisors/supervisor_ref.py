"""`SupervisorRef`: a reference to a supervisor of agents."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal, Unpack, overload

from agy_actors._actors.message import Message
from agy_actors._agents.budget import Budget  # noqa: TC001 (for `typing.get_type_hints`)
from agy_actors._agents.creation_messages import GetChildren
from agy_actors._agents.load_messages import GetLoad
from agy_actors._agents.pool_creation import GetPools
from agy_actors._agents.rate_limit import GetPace
from agy_actors._agents.supervisor_statistics import GetSupervisorStatistics
from agy_actors._sessions.sessions_creation import GetSessions
from agy_actors._supervision.creation import Creation, fix_name
from agy_actors._supervision.restart_policy import Backoff, Restart, Strategy
from agy_actors._supervisors.making_ref import MakingRef

if TYPE_CHECKING:
    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_ref import AgentRef
    from agy_actors._agents.load_messages import LoadStatistics
    from agy_actors._agents.pool_ref import PoolRef
    from agy_actors._agents.rate_limit import PaceStatistics
    from agy_actors._agents.supervisor_statistics import SupervisorStatistics
    from agy_actors._sessions.sessions_ref import Sessions
    from agy_actors._supervisors.maker_options import SupervisorOptions

__all__ = ["CreateSupervisor", "GetSupervisors", "SupervisorRef"]


@dataclasses.dataclass(frozen=True, slots=True)
class CreateSupervisor(Creation["SupervisorRef"]):
    """Create a supervisor under this one. The reply is its ref, once it is ready."""

    kind: ClassVar[str] = "supervisor"
    """The kind of child, for generated names."""

    name: str | None = None
    """Its name under this supervisor; `None` generates one."""

    strategy: Strategy = Strategy.ONE_FOR_ONE
    """Which children it restarts when one fails."""

    max_restarts: int = 5
    """How many restarts of a child it allows `within` these seconds."""

    within: float = 60.0
    """The window of `max_restarts`, in seconds."""

    backoff: Backoff | None = None
    """How long it waits before a restart; `None` waits as the supervisor above it."""

    restart: Restart = Restart.PERMANENT
    """Whether it is restarted itself after a failure."""

    budget: Budget | None = None
    """Limits the tokens of all turns below it; `None` for no limit of its own."""

    def __post_init__(self) -> None:
        fix_name(self)


@dataclasses.dataclass(frozen=True, slots=True)
class GetSupervisors(Message["dict[str, SupervisorRef]"]):
    """Ask for the supervisors directly below this one by name, in the order of their start."""


class SupervisorRef(MakingRef):
    """A reference to a supervisor. Thread-safe.

    As a context manager it stops the supervisor and all its children on leaving.
    """

    _call_instead = (
        "`Supervisor.start(...)` starts a supervisor and returns its ref, and so does"
        " `supervisor.create_supervisor(...)`"
    )

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"supervisor {self.name!r}"

    @overload
    def create_supervisor(
        self,
        name: str | None = None,
        *,
        block: Literal[True] = True,
        **options: Unpack[SupervisorOptions],
    ) -> SupervisorRef: ...

    @overload
    def create_supervisor(
        self,
        name: str | None = None,
        *,
        block: Literal[False],
        **options: Unpack[SupervisorOptions],
    ) -> ReplyFuture[SupervisorRef]: ...

    @overload
    def create_supervisor(
        self,
        name: str | None = None,
        *,
        block: bool,
        **options: Unpack[SupervisorOptions],
    ) -> SupervisorRef | ReplyFuture[SupervisorRef]: ...

    def create_supervisor(
        self,
        name: str | None = None,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        backoff: Backoff | None = None,
        restart: Restart = Restart.PERMANENT,
        budget: Budget | None = None,
        block: bool = True,
        timeout: float | None = None,
    ) -> SupervisorRef | ReplyFuture[SupervisorRef]:
        """Create a supervisor under this one, and wait until it is ready.

        If one of its children fails more often than it allows, it fails with all its children. This
        supervisor then restarts them together, within its own limit.

        Args:
            name: its name under this supervisor; `None` generates one.
            strategy: which children it restarts when one fails.
            max_restarts: how many restarts of a child it allows within `within` seconds.
            within: the window of `max_restarts`, in seconds.
            backoff: how long it waits before a restart; `None` waits as this supervisor does.
            restart: whether it is restarted itself after a failure.
            budget: limits the tokens of all turns below it; `None` for no limit of its own.
            block: wait until it is ready and return its ref; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking.

        Raises:
            InvalidConfig: an argument is invalid, or the name is taken.
            AgentDeadError: this supervisor has ended.
        """
        return self.ask(
            CreateSupervisor(name, strategy, max_restarts, within, backoff, restart, budget),
            block=block,
            timeout=timeout,
        )

    @overload
    def children(self, *, block: Literal[True] = True) -> dict[str, AgentRef]: ...

    @overload
    def children(self, *, block: Literal[False]) -> ReplyFuture[dict[str, AgentRef]]: ...

    @overload
    def children(
        self, *, block: bool
    ) -> dict[str, AgentRef] | ReplyFuture[dict[str, AgentRef]]: ...

    def children(
        self, *, block: bool = True
    ) -> dict[str, AgentRef] | ReplyFuture[dict[str, AgentRef]]:
        """Return the agents by name, in the order of their start."""
        return self.ask(GetChildren(), block=block)

    @overload
    def pools(self, *, block: Literal[True] = True) -> dict[str, PoolRef]: ...

    @overload
    def pools(self, *, block: Literal[False]) -> ReplyFuture[dict[str, PoolRef]]: ...

    @overload
    def pools(self, *, block: bool) -> dict[str, PoolRef] | ReplyFuture[dict[str, PoolRef]]: ...

    def pools(self, *, block: bool = True) -> dict[str, PoolRef] | ReplyFuture[dict[str, PoolRef]]:
        """Return the pools of agents directly below this supervisor, by name."""
        return self.ask(GetPools(), block=block)

    @overload
    def sessions(self, *, block: Literal[True] = True) -> dict[str, Sessions]: ...

    @overload
    def sessions(self, *, block: Literal[False]) -> ReplyFuture[dict[str, Sessions]]: ...

    @overload
    def sessions(
        self, *, block: bool
    ) -> dict[str, Sessions] | ReplyFuture[dict[str, Sessions]]: ...

    def sessions(
        self, *, block: bool = True
    ) -> dict[str, Sessions] | ReplyFuture[dict[str, Sessions]]:
        """Return the sessions directly below this supervisor, by their names."""
        return self.ask(GetSessions(), block=block)

    @overload
    def supervisors(self, *, block: Literal[True] = True) -> dict[str, SupervisorRef]: ...

    @overload
    def supervisors(self, *, block: Literal[False]) -> ReplyFuture[dict[str, SupervisorRef]]: ...

    @overload
    def supervisors(
        self, *, block: bool
    ) -> dict[str, SupervisorRef] | ReplyFuture[dict[str, SupervisorRef]]: ...

    def supervisors(
        self, *, block: bool = True
    ) -> dict[str, SupervisorRef] | ReplyFuture[dict[str, SupervisorRef]]:
        """Return the supervisors directly below this one, by name."""
        return self.ask(GetSupervisors(), block=block)

    @overload
    def pace(self, *, block: Literal[True] = True) -> dict[str, PaceStatistics]: ...

    @overload
    def pace(self, *, block: Literal[False]) -> ReplyFuture[dict[str, PaceStatistics]]: ...

    @overload
    def pace(
        self, *, block: bool
    ) -> dict[str, PaceStatistics] | ReplyFuture[dict[str, PaceStatistics]]: ...

    def pace(
        self, *, block: bool = True
    ) -> dict[str, PaceStatistics] | ReplyFuture[dict[str, PaceStatistics]]:
        """Return the pace of each API key that has to wait, by the key's fingerprint."""
        return self.ask(GetPace(), block=block)

    @overload
    def load(self, *, block: Literal[True] = True) -> LoadStatistics: ...

    @overload
    def load(self, *, block: Literal[False]) -> ReplyFuture[LoadStatistics]: ...

    @overload
    def load(self, *, block: bool) -> LoadStatistics | ReplyFuture[LoadStatistics]: ...

    def load(self, *, block: bool = True) -> LoadStatistics | ReplyFuture[LoadStatistics]:
        """Return how many turns of all agents in its tree run, and how many wait to start."""
        return self.ask(GetLoad(), block=block)

    @overload
    def statistics(self, *, block: Literal[True] = True) -> SupervisorStatistics: ...

    @overload
    def statistics(self, *, block: Literal[False]) -> ReplyFuture[SupervisorStatistics]: ...

    @overload
    def statistics(
        self, *, block: bool
    ) -> SupervisorStatistics | ReplyFuture[SupervisorStatistics]: ...

    def statistics(
        self, *, block: bool = True
    ) -> SupervisorStatistics | ReplyFuture[SupervisorStatistics]:
        """Return a snapshot of all agents in its tree: their states, turns, tokens and restarts.

        It does not wait for the agents.
        """
        return self.ask(GetSupervisorStatistics(), block=block)
