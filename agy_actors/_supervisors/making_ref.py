"""The methods of `SupervisorRef` that create agents, pools and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from agy_actors._agents import creation_messages as messages
from agy_actors._agents.pool_creation import CreatePool
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._sessions.sessions_creation import CreateSessions
from agy_actors._supervision.actor_supervisor_ref import ActorSupervisorRef
from agy_actors._supervision.restart_policy import Restart
from agy_actors._supervision.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.antigravity import AgentConfig

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_ref import AgentRef
    from agy_actors._agents.pool_ref import PoolRef
    from agy_actors._sessions.sessions_ref import Sessions
    from agy_actors._supervisors.maker_options import AgentOptions, PoolOptions, SessionsOptions

__all__ = ["MakingRef"]


class MakingRef(ActorSupervisorRef):
    """The methods that create agents, pools and sessions.

    Each waits until the child is ready and returns its ref, or, with `block=False`, returns a
    `ReplyFuture` of the ref. If the caller stops waiting (by a timeout, by Ctrl-C, by cancelling
    the future or the task that awaits it), the child is ended.
    """

    @overload
    def create_agent(
        self,
        config: AgentConfig,
        name: str | None = None,
        *,
        block: Literal[True] = True,
        **options: Unpack[AgentOptions],
    ) -> AgentRef: ...

    @overload
    def create_agent(
        self,
        config: AgentConfig,
        name: str | None = None,
        *,
        block: Literal[False],
        **options: Unpack[AgentOptions],
    ) -> ReplyFuture[AgentRef]: ...

    @overload
    def create_agent(
        self,
        config: AgentConfig,
        name: str | None = None,
        *,
        block: bool,
        **options: Unpack[AgentOptions],
    ) -> AgentRef | ReplyFuture[AgentRef]: ...

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
        block: bool = True,
        timeout: float | None = None,
    ) -> AgentRef | ReplyFuture[AgentRef]:
        """Create an agent and wait until it is ready.

        Args:
            config: the SDK's configuration, passed through unchanged.
            name: its name under this supervisor; `None` generates one. With a `state_dir`, its
                conversation is resumed by the name.
            restart: whether it is restarted after a failure.
            retry: when a turn that failed is tried again.
            max_model_errors: consecutive errors of the model that end a turn; 0 for no limit.
            max_empty_steps: consecutive steps without text or tool call that end a turn; 0 for no
                limit.
            idle_timeout: seconds without a turn after which the agent saves its conversation and
                releases its process, until the next turn. `None` for never.
            stop_timeout: the seconds within which it must end, or finish its turns when it is
                drained.
            block: wait until it is ready and return its ref; else return a `ReplyFuture` of the
                ref, which raises the errors below. Cancelling the future ends the agent.
            timeout: the seconds to wait if blocking, or `None` to wait as long as the start takes.

        Raises:
            InvalidConfig: an argument is invalid, or the name is taken. Nothing was started.
            AgentStartError: it did not start. Nothing of it is left.
            AskTimeout: it was not ready in time, and was ended.
            AgentDeadError: the supervisor has ended.
        """
        message = messages.CreateAgent(
            config,
            name,
            restart,
            retry or RetryPolicy(),
            max_model_errors,
            max_empty_steps,
            idle_timeout,
            stop_timeout,
        )
        return self.ask(message, block=block, timeout=timeout)

    @overload
    def get_or_create_agent(
        self,
        config: AgentConfig,
        name: str,
        *,
        block: Literal[True] = True,
        **options: Unpack[AgentOptions],
    ) -> AgentRef: ...

    @overload
    def get_or_create_agent(
        self,
        config: AgentConfig,
        name: str,
        *,
        block: Literal[False],
        **options: Unpack[AgentOptions],
    ) -> ReplyFuture[AgentRef]: ...

    @overload
    def get_or_create_agent(
        self,
        config: AgentConfig,
        name: str,
        *,
        block: bool,
        **options: Unpack[AgentOptions],
    ) -> AgentRef | ReplyFuture[AgentRef]: ...

    def get_or_create_agent(
        self,
        config: AgentConfig,
        name: str,
        *,
        restart: Restart = Restart.PERMANENT,
        retry: RetryPolicy | None = None,
        max_model_errors: int = 3,
        max_empty_steps: int = 500,
        idle_timeout: float | None = None,
        stop_timeout: float = 10.0,
        block: bool = True,
        timeout: float | None = None,
    ) -> AgentRef | ReplyFuture[AgentRef]:
        """Return the agent with a name; create it first if it does not exist.

        If several threads call this at once, one agent is created, and all get its ref when it is
        ready. As with `dict.setdefault`, the arguments other than the name have an effect only if
        this call creates the agent: an existing agent is returned as it is.

        *   If the agent is being created, by any method, this waits for it. If its start fails, all
            callers get that error; the next call tries again. If some of the callers stop waiting,
            the creation continues for the others; if all do, the agent is ended.
        *   An agent that is being restarted or is asleep counts as existing.
        *   If the agent is ending, this waits for its end, and creates another one. An agent that
            ends just after it was found is returned nevertheless; asking it raises
            `AgentDeadError`.

        Args:
            config: see `create_agent`.
            name: its name under this supervisor.
            restart: see `create_agent`.
            retry: see `create_agent`.
            max_model_errors: see `create_agent`.
            max_empty_steps: see `create_agent`.
            idle_timeout: seconds; see `create_agent`.
            stop_timeout: seconds; see `create_agent`.
            block: wait until it is ready and return its ref; else return its `ReplyFuture`.
            timeout: the seconds to wait if blocking, or `None` to wait as long as the start takes.

        Raises:
            InvalidConfig: the name is invalid or that of another kind of child; or the agent is
                created, and another argument is invalid.
            AgentStartError: it did not start. Nothing of it is left.
            AskTimeout: it was not ready in time.
            AgentDeadError: the supervisor has ended.
        """
        message = messages.GetOrCreateAgent(
            config,
            name,
            restart,
            retry or RetryPolicy(),
            max_model_errors,
            max_empty_steps,
            idle_timeout,
            stop_timeout,
        )
        return self.ask(message, block=block, timeout=timeout)

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
            ),
            block=block,
            timeout=timeout,
        )
