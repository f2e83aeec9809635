"""Gives an SDK agent its `localharness` in our own way.

The SDK starts one for each agent. Its strategy does so in one method, for which ours is
put; all else is the SDK's. Where the SDK has another shape than the one known here, or the
agent is of a kind without a `localharness`, the SDK starts it as it likes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection, local_openai_connection
from loguru import logger

from agy_actors._harness._context import lend_variables, watch_denials
from agy_actors._harness._quarters import OnLine, OwnQuarters, Quarters, SharedQuarters
from agy_actors._harness._tools import guard_tools
from agy_actors._harness.hook_calls import guard_hooks, guard_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.antigravity import Agent

    from agy_actors._harness._context import Variables
    from agy_actors._harness.hook_calls import HookCalls
    from agy_actors._kernel import AsyncioActorRef

__all__ = ["SHARING", "Harness", "binary_known", "is_of_known_shape"]

_PATH_VARIABLE = "ANTIGRAVITY_HARNESS_PATH"
"""Where the SDK looks first for the program."""

_KNOWN_PARAMETERS = {"use_interactions_api"}
"""Of the method by which the SDK starts a process."""

SHARING = (
    local_connection.LocalConnectionStrategy,
    local_openai_connection.LocalOpenAIConnectionStrategy,
)
"""The strategies whose conversations may share a process. Others have more of their own
than a conversation: a model server, say."""


class Harness:
    """The `localharness` of one SDK agent, if it has one.

    Its methods are for the loop that the agent lives on. The callbacks are called on any
    thread, if nothing else is said.

    Args:
        host: who has processes to share; `None` for one of the agent's own.
        conversation: the conversation's id.
        key: the fingerprint of its API key: it shares a process with others of the same only.
        grace: seconds for a process of its own to end by itself before it is killed.
        on_line: called with each line of the process's standard error, and whether it can be
            about no other conversation on it.
        has_turn: returns whether the agent has a turn, or had one just now.
        on_death: called when the process is gone, however it went.
        on_wait: called with `True`, on the agent's loop, when the agent begins to wait for
            a place on a process, and with `False` when it has one.
        variables: returns the context variables, with their values, for tools and hooks.
        hooks: through what the agent's hooks, policies and handlers are called.
    """

    def __init__(
        self,
        *,
        host: AsyncioActorRef | None,
        conversation: str,
        key: str,
        grace: float,
        on_line: OnLine,
        has_turn: Callable[[], bool],
        on_death: Callable[[], None],
        on_wait: Callable[[bool], None],
        variables: Callable[[], Variables],
        hooks: HookCalls,
    ) -> None:
        self._hooks = hooks
        self._variables = variables
        self._own = functools.partial(OwnQuarters, grace=grace, on_line=on_line, on_death=on_death)
        self._shared = host and functools.partial(
            SharedQuarters,
            host,
            conversation,
            key,
            has_turn=has_turn,
            on_line=on_line,
            on_death=on_death,
            on_wait=on_wait,
        )
        self._quarters: Quarters | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return None if self._quarters is None else self._quarters.pid

    @property
    def last_words(self) -> str:
        """The last lines of the process's standard error."""
        return "" if self._quarters is None else "\n".join(self._quarters.tail)

    def adopt(self, agent: Agent) -> None:
        """Have `agent`, which has not been opened yet, find its process here."""
        config: Any = agent._config  # noqa: SLF001
        create: Callable[..., Any] = config.create_strategy

        def create_strategy(**runners: Any) -> Any:
            guard_tools(runners["tool_runner"])
            guard_hooks(runners["hook_runner"], self._hooks)
            for runner in runners.values():
                lend_variables(runner, self._variables)
            watch_denials(runners["hook_runner"], self._hooks.note_denial)
            with binary_known(config):
                strategy = create(**runners)
            if getattr(strategy, "_policies", None):
                strategy._policies = guard_policies(strategy._policies, self._hooks)  # noqa: SLF001
            if is_of_known_shape(strategy):
                strategy._env = getattr(config, "env", None)  # noqa: SLF001

                async def spawn(*, use_interactions_api: bool = False) -> Any:
                    choose = self._shared if self._shared and _may_share(strategy) else self._own
                    quarters = self._quarters = choose()
                    process, ws = await quarters.enter(
                        strategy, use_interactions_api=use_interactions_api
                    )
                    return process, ws, "its WebSocket"

                strategy._spawn_harness_and_connect_ws = spawn  # noqa: SLF001
            return strategy

        # Past pydantic, which knows no such field; the agent's own copy of the config.
        object.__setattr__(config, "create_strategy", create_strategy)

    async def is_held(self) -> bool:
        """Tell whether the process refused the conversation since it has it open already."""
        return self._quarters is not None and await self._quarters.is_held()

    @property
    def refusal(self) -> str | None:
        """The line with which the process refused the conversation, if it said one."""
        return None if self._quarters is None else self._quarters.refusal

    def settle(self) -> None:
        """Note that the agent is open."""
        if self._quarters is not None:
            self._quarters.settle()

    def kill(self) -> None:
        """Break the conversation off at once, if there is one. Callable from any thread."""
        if self._quarters is not None:
            self._quarters.break_off()

    def reap(self) -> None:
        """Break the conversation off, and see to it that nothing of it is left.

        From any thread. What belongs to the loop is for `dispose`.
        """
        if self._quarters is not None:
            self._quarters.evacuate()

    def dispose(self) -> None:
        """Leave nothing of it behind."""
        if self._quarters is not None:
            self._quarters.leave()


@contextlib.contextmanager
def binary_known(config: Any) -> Iterator[None]:
    """Spare a strategy the search for its program, which it would make anew for each agent.

    The SDK reads the list of all files of its package for that, which takes longer than
    all else in opening an agent.
    """
    env = getattr(config, "env", None)
    if not hasattr(config, "env") or _PATH_VARIABLE in (env or {}):
        yield
        return
    known = _binary_path(os.environ.get(_PATH_VARIABLE))
    object.__setattr__(config, "env", {**(env or {}), _PATH_VARIABLE: known})
    try:
        yield
    finally:
        object.__setattr__(config, "env", env)


@functools.lru_cache(maxsize=8)
def _binary_path(_: str | None) -> str:
    return str(local_connection._get_default_binary_path(None))  # noqa: SLF001


def is_of_known_shape(strategy: object) -> bool:
    """Return whether a strategy starts its process in the way that is known here."""
    if not isinstance(strategy, local_connection.LocalConnectionStrategy):
        return False
    spawn = getattr(strategy, "_spawn_harness_and_connect_ws", None)
    known = (
        inspect.iscoroutinefunction(spawn)
        and set(inspect.signature(spawn).parameters) == _KNOWN_PARAMETERS
        and all(hasattr(strategy, name) for name in ("_binary_path", "_save_dir", "_env"))
    )
    if not known:
        _warn_of_unknown_shape()
    return known


@functools.cache  # Once: all agents are of the same release.
def _warn_of_unknown_shape() -> None:
    logger.warning(
        "This release of google-antigravity starts its harness in an unknown way;"
        " each agent has a process of its own, and starts and stops are not bounded in time"
    )


def _may_share(strategy: Any) -> bool:
    # A process ends its MCP servers when it ends itself, not with a conversation.
    return type(strategy) in SHARING and not getattr(strategy, "_mcp_servers", True)
