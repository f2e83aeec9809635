"""The methods of `SupervisorRef` that create agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack, overload

from agy_actors._agents import creation_messages as messages
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._supervision.actor_supervisor_ref import ActorSupervisorRef
from agy_actors._supervision.restart_policy import Restart

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

    from agy_actors._actors.future import ReplyFuture
    from agy_actors._agents.agent_ref import AgentRef
    from agy_actors._agents.budget import Budget
    from agy_actors._supervisors.maker_options import AgentOptions

__all__ = ["AgentMakingRef"]


class AgentMakingRef(ActorSupervisorRef):
    """The methods that create agents.

    Each waits until the agent is ready and returns its ref, or, with `block=False`, returns a
    `ReplyFuture` of the ref. If the caller stops waiting (by a timeout, by Ctrl-C, by cancelling
    the future or the task that awaits it), the agent is ended.
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
        budget: Budget | None = None,
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
            budget: limits the tokens of its turns; `None` for no limit of its own.
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
            budget,
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
        budget: Budget | None = None,
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
            budget: see `create_agent`.
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
            budget,
        )
        return self.ask(message, block=block, timeout=timeout)
