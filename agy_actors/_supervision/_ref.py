"""A reference to a supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from agy_actors._agent import AgentRef, RetryPolicy
from agy_actors._kernel import AsyncioActorRef
from agy_actors._supervision import _messages as messages
from agy_actors._supervision._decisions import Restart

if TYPE_CHECKING:
    from types import TracebackType

    from google.antigravity import AgentConfig

    from agy_actors._supervision._supervisor import Supervisor

__all__ = ["SupervisorRef"]


class SupervisorRef(AsyncioActorRef):
    """A reference to a supervisor, for every thread.

    As a context manager it stops the supervisor, and with it all agents, on leaving.
    """

    def __init__(self, actor: Supervisor) -> None:
        super().__init__(actor)
        self.name = actor.name
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<SupervisorRef {self.name!r}{'' if self.is_alive() else ', ended'}>"

    def __str__(self) -> str:
        return f"supervisor {self.name!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked child has a copy of the ref, and of no thread that could answer it.
        if os.getpid() == self._pid:
            self.stop()

    def create_agent(
        self,
        config: AgentConfig,
        name: str | None = None,
        *,
        restart: Restart = Restart.PERMANENT,
        retry: RetryPolicy | None = None,
        max_model_errors: int = 3,
        max_empty_steps: int = 500,
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
            ),
            timeout=timeout,
        )

    def shutdown_agent(self, agent: str | AgentRef, *, timeout: float | None = None) -> None:
        """End an agent, whatever it does, and wait until nothing of it is left.

        Ending an agent that has ended, by its ref, does nothing.

        Raises:
            InvalidConfig: there is no such agent; names those there are.
        """
        self.ask(messages.ShutdownAgent(agent), timeout=timeout)

    def children(self) -> dict[str, AgentRef]:
        """Return the agents by name, in the order of their start."""
        return self.ask(messages.GetChildren())

    def shutdown(self, *, timeout: float | None = None) -> bool:
        """End all agents and the supervisor. The same as `stop`."""
        return self.stop(timeout=timeout)
