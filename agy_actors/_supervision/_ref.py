"""A reference to a supervisor."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import pykka

from agy_actors._agent import AgentRef, GetPace, PaceStatistics, RetryPolicy
from agy_actors._kernel import AsyncioActorRef, check_flag, forks
from agy_actors._supervision import _messages as messages
from agy_actors._supervision._decisions import Restart, Strategy
from agy_actors._supervision._pool_messages import CreatePool
from agy_actors._supervision._routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from google.antigravity import AgentConfig

    from agy_actors._events import Event, Subscription
    from agy_actors._supervision._decisions import Backoff
    from agy_actors._supervision._parent import ParentActor
    from agy_actors._supervision._pool_ref import PoolRef

__all__ = ["OwnerRef", "SupervisorRef"]


class OwnerRef(AsyncioActorRef):
    """A reference to what owns agents: a supervisor or a pool. For every thread.

    As a context manager it stops the owner, and with it all agents, on leaving; with
    `async with`, the event loop runs on meanwhile.
    """

    _instead_of_pickling = (
        "send its name and look it up in the process that has it, or start a supervisor in the"
        " other process"
    )

    def __init__(self, actor: ParentActor) -> None:
        super().__init__(actor)
        self.name = actor.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked child has a copy of the ref, and of no thread that could answer it.
        if self.actor_inbox.made_in == forks.generation:
            self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.actor_inbox.made_in == forks.generation:
            # Shielded: to cancel who waits must not keep anything from being stopped.
            await asyncio.shield(asyncio.ensure_future(self.stop(block=False)))

    def subscribe(
        self, callback: Callable[[Event], object], *, capacity: int = 1000
    ) -> Subscription:
        """Have a function called with the events of all that happens here and below.

        It is called on a thread of its own, with one event after another. It may be slow
        or raise: that harms nobody.

        Args:
            callback: called with each `Event`.
            capacity: how many events wait for it before some are dropped, and counted.

        Returns:
            The subscription; it ends when it is cancelled, or with the supervisor.

        Raises:
            InvalidConfig: the callback cannot be called, or the capacity is not a whole number
                from 1.
        """
        return self.ask(messages.Subscribe(callback, capacity))

    def shutdown(self, *, drain: bool = False, timeout: float | None = None) -> bool:
        """End all children and the supervisor, and wait for the end.

        Args:
            drain: let the agents' turns end first, for the `stop_timeout` of each.
            timeout: the seconds to wait for the end, which comes in any case.

        Returns:
            `True`, or `False` if it had ended before.

        Raises:
            AskTimeout: it did not end in time.
            InvalidArgument: `drain` is not a `bool`, or the timeout not a number of seconds
                from 0. Nothing ends.
        """
        if check_flag("drain", drain):
            try:
                self.ask(messages.Shutdown(drain=True), timeout=timeout)
            except pykka.ActorDeadError:
                return False
        return self.stop(timeout=timeout) or drain


class SupervisorRef(OwnerRef):
    """A reference to a supervisor, for every thread.

    As a context manager it stops the supervisor, and with it all agents, on leaving.
    """

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.name!r}{self._state_suffix()}>"

    def __str__(self) -> str:
        return f"supervisor {self.name!r}"

    def create_agent(
        self,
        config: AgentConfig,
        name: str | None = None,
        *,
        restart: Restart = Restart.PERMANENT,
        retry: RetryPolicy | None = None,
        max_model_errors: int = 3,
        max_empty_steps: int = 500,
        idle_timeout: float | None = None,
        stop_timeout: float = 10.0,
        timeout: float | None = None,
    ) -> AgentRef:
        """Create an agent and wait until it is up.

        Args:
            config: the SDK's configuration, passed through whole.
            name: its name under this supervisor; `None` makes one up. With a `state_dir`
                the name is what its conversation is resumed by.
            restart: when it is restarted.
            retry: when a turn that broke is asked again.
            max_model_errors: errors of the model in a row that end a turn; 0 for no bound.
            max_empty_steps: steps in a row with neither text nor tool call that end a
                turn; 0 for no bound.
            idle_timeout: seconds without a turn after which the agent gives its process
                back, its conversation saved; the next turn wakes it. `None` for never.
            stop_timeout: seconds it gets to end by itself, or to finish its turns where it
                is drained.
            timeout: the seconds to wait, or `None` for as long as a start may take.

        Raises:
            InvalidConfig: it cannot be as described, or the name is taken.
            AgentStartError: it did not come up. Nothing of it is left.
            AskTimeout: it did not come up in time, and was ended.
            AgentDeadError: the supervisor has ended.
        """
        return self.ask(
            messages.CreateAgent(
                config,
                name,
                restart,
                retry or RetryPolicy(),
                max_model_errors,
                max_empty_steps,
                idle_timeout,
                stop_timeout,
            ),
            timeout=timeout,
        )

    def create_supervisor(
        self,
        name: str | None = None,
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 5,
        within: float = 60.0,
        backoff: Backoff | None = None,
        restart: Restart = Restart.PERMANENT,
        timeout: float | None = None,
    ) -> SupervisorRef:
        """Create a supervisor under this one, and wait until it is up.

        A child of it that fails more often than it allows makes it fail with all its
        children; this one then restarts them together, as often as it allows itself.

        Args:
            name: its name under this supervisor; `None` makes one up.
            strategy: whom it restarts when a child of it fails.
            max_restarts: how many restarts of a child it allows within `within` seconds.
            within: the window of `max_restarts`, in seconds.
            backoff: how long it waits before a restart; `None` as this one does.
            restart: when it is restarted, once it fails.
            timeout: the seconds to wait.

        Raises:
            InvalidConfig: it cannot be as described, or the name is taken.
            AgentDeadError: this supervisor has ended.
        """
        return self.ask(
            messages.CreateSupervisor(name, strategy, max_restarts, within, backoff, restart),
            timeout=timeout,
        )

    def create_pool(
        self,
        config: AgentConfig,
        size: int = 4,
        name: str | None = None,
        *,
        routing: Routing = Routing.SHORTEST_QUEUE,
        max_size: int | None = None,
        shrink_after: float = 30.0,
        capacity: int = 1000,
        retry: RetryPolicy | None = None,
        max_restarts: int = 5,
        within: float = 60.0,
        idle_timeout: float | None = None,
        keep_conversation: bool = False,
        timeout: float | None = None,
    ) -> PoolRef:
        """Create a pool of agents that are alike, and wait until all of them are up.

        Members are workers without memory: each turn has a new conversation, unless
        `keep_conversation` is set or the routing is `CONSISTENT_HASH`.

        Args:
            config: the SDK's configuration of each member, passed through whole.
            size: how many members; the least, where the pool scales.
            name: its name under this supervisor; `None` makes one up.
            routing: how it chooses the member for a turn.
            max_size: how many members it may grow to while at least as many turns wait as
                there are members; `None` does not scale.
            shrink_after: seconds for which a member may be idle then before it is removed.
            capacity: turns that wait before a sender gets `MailboxFull`.
            retry: when a turn that broke is asked again.
            max_restarts: how many restarts of a member are allowed within `within` seconds
                before a fresh one takes its place. A pool that has to replace members more
                often than that for each ends, but for turns that crash them.
            within: the window of `max_restarts`, in seconds.
            idle_timeout: seconds without a turn after which a member gives its process back.
            keep_conversation: let the turns of a member follow each other in one conversation:
                it then remembers the prompts of all askers. `CONSISTENT_HASH` implies it.
            timeout: the seconds to wait, or `None` for as long as the starts may take.

        Raises:
            InvalidConfig: it cannot be as described, or the name is taken.
            AgentStartError: a member did not come up. Nothing of the pool is left.
            AskTimeout: it did not come up in time, and was ended.
            AgentDeadError: the supervisor has ended.
        """
        return self.ask(
            CreatePool(
                config,
                size,
                name,
                routing,
                max_size,
                shrink_after,
                capacity,
                retry or RetryPolicy(),
                max_restarts,
                within,
                idle_timeout,
                keep_conversation,
            ),
            timeout=timeout,
        )

    def shutdown_agent(
        self,
        agent: str | AgentRef | OwnerRef,
        *,
        drain: bool = False,
        timeout: float | None = None,
    ) -> None:
        """End a child, whatever it does, and wait until nothing of it is left.

        Ending one that has ended, by its ref, does nothing.

        Args:
            agent: its name or its ref; a supervisor or a pool is ended with all its own.
            drain: let its turns end first, those that wait too, for its `stop_timeout`.
            timeout: the seconds to wait for its end, which comes in any case.

        Raises:
            InvalidConfig: there is no such child; names those there are.
            InvalidArgument: `drain` is not a `bool`, or the timeout not a number of seconds
                from 0. Nothing ends.
        """
        self.ask(messages.ShutdownAgent(agent, drain), timeout=timeout)

    def children(self) -> dict[str, AgentRef]:
        """Return the agents by name, in the order of their start."""
        return self.ask(messages.GetChildren())

    def pools(self) -> dict[str, PoolRef]:
        """Return the pools right below this one, by name."""
        return self.ask(messages.GetPools())

    def supervisors(self) -> dict[str, SupervisorRef]:
        """Return the supervisors right below this one, by name."""
        return self.ask(messages.GetSupervisors())

    def pace(self) -> dict[str, PaceStatistics]:
        """Return the pace of each API key that is not free, by the key's fingerprint."""
        return self.ask(GetPace())
