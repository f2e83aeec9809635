"""The methods of `SupervisorRef` that create agents, pools and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from agy_actors._agents.pool_creation import CreatePool
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._sessions.sessions_creation import CreateSessions
from agy_actors._supervision.routing import Routing
from agy_actors._supervisors.agent_making_ref import AgentMakingRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.budget import Budget
    from agy_actors._agents.pool_ref import PoolRef
    from agy_actors._sessions.sessions_ref import Sessions
    from agy_actors._supervisors.maker_options import PoolOptions, SessionsOptions

__all__ = ["MakingRef"]


class MakingRef(AgentMakingRef):
    """The methods that create agents, pools and sessions.

    Each waits until the child is ready and returns its ref, or, with `block=False`, returns a
    `ReplyFuture` of the ref. If the caller stops waiting (by a timeout, by Ctrl-C, by cancelling
    the future or the task that awaits it), the child is ended.
    """

    @overload
    def create_pool(
        self,
        config: AgentConfig,
        size: int = 4,
        name: str | None = None,
        *,
        block: Literal[True] = True,
        **options: Unpack[PoolOptions],
    ) -> PoolRef: ...

    @overload
    def create_pool(
        self,
        config: AgentConfig,
        size: int = 4,
        name: str | None = None,
        *,
        block: Literal[False],
        **options: Unpack[PoolOptions],
    ) -> ReplyFuture[PoolRef]: ...

    @overload
    def create_pool(
        self,
        config: AgentConfig,
        size: int = 4,
        name: str | None = None,
        *,
        block: bool,
        **options: Unpack[PoolOptions],
    ) -> PoolRef | ReplyFuture[PoolRef]: ...

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
        budget: Budget | None = None,
        block: bool = True,
        timeout: float | None = None,
    ) -> PoolRef | ReplyFuture[PoolRef]:
        """Create a pool of identical agents, and wait until all of them are ready.

        Members are workers without memory: each turn has a new conversation, unless
        `keep_conversation` is set or the routing is `CONSISTENT_HASH`.

        Args:
            config: the SDK's configuration of each member, passed through unchanged.
            size: the number of members. With a `max_size`, the smallest number.
            name: its name under this supervisor; `None` generates one.
            routing: how it chooses the member for a turn.
            max_size: the largest number of members. The pool grows while at least as many turns
                wait as it has members. With `None` it always has `size` members.
            shrink_after: seconds after which an idle member is removed, if there is a `max_size`.
            capacity: how many turns wait before a sender gets `MailboxFull`.
            retry: when a turn that failed is tried again.
            max_restarts: how many restarts of a member are allowed within `within` seconds before
                a new one replaces it. A pool that has to replace members more often than that, on
                average, ends; replacements because of a turn that crashes members do not count.
            within: the window of `max_restarts`, in seconds.
            idle_timeout: seconds without a turn after which a member releases its process.
            keep_conversation: use one conversation for all turns of a member, which then remembers
                the prompts of all askers. `CONSISTENT_HASH` implies it.
            budget: limits the tokens of all its turns; `None` for no limit of its own.
            block: wait until all are ready and return its ref; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking, or `None` to wait as long as the starts take.

        Raises:
            InvalidConfig: an argument is invalid, or the name is taken. Nothing was started.
            AgentStartError: a member did not start. Nothing of the pool is left.
            AskTimeout: it was not ready in time, and was ended.
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
                budget,
            ),
            block=block,
            timeout=timeout,
        )

    @overload
    def create_sessions(
        self,
        config: AgentConfig | Callable[[str], AgentConfig],
        name: str | None = None,
        *,
        block: Literal[True] = True,
        **options: Unpack[SessionsOptions],
    ) -> Sessions: ...

    @overload
    def create_sessions(
        self,
        config: AgentConfig | Callable[[str], AgentConfig],
        name: str | None = None,
        *,
        block: Literal[False],
        **options: Unpack[SessionsOptions],
    ) -> ReplyFuture[Sessions]: ...

    @overload
    def create_sessions(
        self,
        config: AgentConfig | Callable[[str], AgentConfig],
        name: str | None = None,
        *,
        block: bool,
        **options: Unpack[SessionsOptions],
    ) -> Sessions | ReplyFuture[Sessions]: ...

    def create_sessions(
        self,
        config: AgentConfig | Callable[[str], AgentConfig],
        name: str | None = None,
        *,
        max_awake: int = 64,
        idle_timeout: float | None = 300.0,
        capacity: int = 1000,
        retry: RetryPolicy | None = None,
        max_restarts: int = 5,
        within: float = 60.0,
        keep_results: float = 86_400.0,
        budget: Budget | None = None,
        block: bool = True,
        timeout: float | None = None,
    ) -> Sessions | ReplyFuture[Sessions]:
        """Create sessions: one lasting conversation for each key, such as one for each user.

        `sessions[key].ask(...)` creates the session, or wakes it if it sleeps. Sleeping sessions
        are only compressed files. With a `state_dir`, all programs that use the same folder and
        name share the sessions: a conversation moves to the program that is asked for it.

        Args:
            config: the SDK's configuration of each session, or a function that returns that of a
                key. The function is called each time a session wakes, on the thread of the
                sessions, and must not block.
            name: the name under this supervisor, and of the folder; `None` generates one.
            max_awake: how many sessions may have their conversation open at a time. If another one
                is needed, the least recently used idle one falls asleep. If all are busy, turns
                wait, within their own timeout.
            idle_timeout: seconds without a turn after which a session falls asleep; `None` for
                never.
            capacity: how many turns wait in all before a sender gets `MailboxFull`.
            retry: when a turn that failed is tried again.
            max_restarts: how many restarts of one session's agent are allowed within `within`
                seconds. An agent that fails more often ends; the session's next turn makes another.
            within: the window of `max_restarts`, in seconds.
            keep_results: seconds for which the results of durable requests are kept.
            budget: limits the tokens of all their turns; `None` for no limit of their own. While
                it is used up, durable requests wait.
            block: wait until they are ready and return their ref; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking.

        Raises:
            InvalidConfig: an argument is invalid, or the name is taken. Nothing was started.
            AgentStartError: the index cannot be opened.
            AskTimeout: they were not ready in time, and were ended.
            AgentDeadError: the supervisor has ended.
        """
        return self.ask(
            CreateSessions(
                config,
                name,
                max_awake,
                idle_timeout,
                capacity,
                retry or RetryPolicy(),
                max_restarts,
                within,
                keep_results,
                budget,
            ),
            block=block,
            timeout=timeout,
        )
