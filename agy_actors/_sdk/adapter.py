"""`Harness`: gives an SDK agent a `localharness` of its own, or one that it shares.

The SDK starts one process for each agent, in one method of the agent's strategy. This module
replaces that method and leaves everything else to the SDK. If the SDK has an unknown shape, or the
agent is of a kind without a `localharness`, the SDK itself starts the agent.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection, local_openai_connection
from loguru import logger

from agy_actors._sdk.hook_calls import guard_hooks, guard_policies
from agy_actors._sdk.otel_hooks import fit_otel_hooks
from agy_actors._sdk.process.lease import (
    Lease,
    LostProcess,
    OnLine,
    OwnLease,
    SharedLease,
)
from agy_actors._sdk.runner_patches import run_around, watch_denials
from agy_actors._sdk.tool_calls import ToolCalls
from agy_actors._sdk.tools import guard_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.antigravity import Agent

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._sdk.hook_calls import HookCalls
    from agy_actors._sdk.runner_patches import Around
    from agy_actors._sdk.tools import AroundTool

__all__ = ["SHARING", "Harness", "binary_known", "is_of_known_shape"]

_PATH_VARIABLE = "ANTIGRAVITY_HARNESS_PATH"
"""The environment variable with the path of the program, which the SDK reads first."""

_KNOWN_PARAMETERS = {"use_interactions_api"}
"""The parameters of the SDK's method that starts a process."""

SHARING = (
    local_connection.LocalConnectionStrategy,
    local_openai_connection.LocalOpenAIConnectionStrategy,
)
"""The strategies whose conversations may share a process. Other strategies own more than a
conversation, such as a model server."""


class Harness:
    """The `localharness` of one SDK agent, if it has one.

    All methods except `kill` and `reap` are for the loop of the agent. The callbacks are called on
    any thread unless stated otherwise.

    Args:
        process_pool: the `ProcessPool` with processes to share; `None` for a process of its own.
        conversation: the conversation's id.
        key: the fingerprint of its API key. Only conversations with the same key share a process.
        grace: seconds for a process of its own to end by itself before it is killed.
        on_line: called with each line of the process's standard error, and whether the line cannot
            be about another conversation on the process.
        has_turn: returns whether the agent has a turn, or just had one.
        on_death: called when the process is gone, for any reason.
        on_wait: called with `True`, on the agent's loop, when the agent starts to wait for a place
            on a process, and with `False` when it has one.
        around: returns a context manager in which tools and hooks run. It sets context variables.
        around_tool: returns a context manager in which a tool is called.
        hooks: calls the agent's hooks, policies and handlers.
    """

    def __init__(
        self,
        *,
        process_pool: AsyncioActorRef | None,
        conversation: str,
        key: str,
        grace: float,
        on_line: OnLine,
        has_turn: Callable[[], bool],
        on_death: Callable[[], None],
        on_wait: Callable[[bool], None],
        around: Around,
        around_tool: AroundTool,
        hooks: HookCalls,
    ) -> None:
        self._hooks = hooks
        self._around = around
        self._around_tool = around_tool
        self.tools = ToolCalls()
        """The calls of the agent's tools."""
        self._on_death = on_death
        self._own = functools.partial(OwnLease, grace=grace, on_line=on_line)
        self._shared = process_pool and functools.partial(
            SharedLease,
            process_pool,
            conversation,
            key,
            has_turn=has_turn,
            on_line=on_line,
            on_wait=on_wait,
        )
        self._lease: Lease | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return None if self._lease is None else self._lease.pid

    @property
    def last_words(self) -> str:
        """The last lines of the process's standard error."""
        return "" if self._lease is None else "\n".join(self._lease.tail)

    def adopt(self, agent: Agent) -> None:
        """Give `agent`, which is not open yet, its process from here."""
        config: Any = agent._config  # noqa: SLF001
        create: Callable[..., Any] = config.create_strategy

        def create_strategy(**runners: Any) -> Any:
            guard_tools(runners["tool_runner"], self.tools, self._around_tool)
            fit_otel_hooks(runners["hook_runner"])
            guard_hooks(runners["hook_runner"], self._hooks)
            for runner in runners.values():
                run_around(runner, self._around)
            watch_denials(runners["hook_runner"], self._hooks.note_denial)
            with binary_known(config):
                strategy = create(**runners)
            if getattr(strategy, "_policies", None):
                strategy._policies = guard_policies(strategy._policies, self._hooks)  # noqa: SLF001
            if is_of_known_shape(strategy):
                strategy._env = getattr(config, "env", None)  # noqa: SLF001

                async def spawn(*, use_interactions_api: bool = False) -> Any:
                    choose = self._shared if self._shared and _may_share(strategy) else self._own
                    lease = self._new_lease(choose)
                    process, ws = await lease.acquire(
                        strategy, use_interactions_api=use_interactions_api
                    )
                    return process, ws, "its WebSocket"

                strategy._spawn_harness_and_connect_ws = spawn  # noqa: SLF001
            return strategy

        # Around pydantic, which has no such field. This is the agent's own copy of the config.
        object.__setattr__(config, "create_strategy", create_strategy)

    def _new_lease(self, choose: Callable[..., Lease]) -> Lease:
        def die() -> None:
            # A process that the conversation has left may die later. That does not concern it.
            if self._lease is lease:
                self._on_death()

        lease = self._lease = choose(on_death=die)
        return lease

    def lost_process(self, error: Exception) -> LostProcess | None:
        """Return the shared process whose end prevented the agent from opening, or `None`.

        Args:
            error: the error of the start.
        """
        return None if self._lease is None else self._lease.lost_process(error)

    async def is_held(self) -> bool:
        """Return whether the process refused the conversation because it is open already."""
        return self._lease is not None and await self._lease.is_held()

    @property
    def refusal(self) -> str | None:
        """The line with which the process refused the conversation, or `None`."""
        return None if self._lease is None else self._lease.refusal

    def note_opened(self) -> None:
        """Note that the agent is open."""
        if self._lease is not None:
            self._lease.note_opened()

    def kill(self) -> None:
        """Cut the conversation off from its process at once. Thread-safe."""
        if self._lease is not None:
            self._lease.sever()

    def reap(self) -> None:
        """Cut the conversation off for good, if its loop hangs. Thread-safe.

        `dispose` releases what belongs to the loop.
        """
        if self._lease is not None:
            self._lease.abandon()

    def dispose(self) -> None:
        """Release the process and the connection."""
        if self._lease is not None:
            self._lease.release()


@contextlib.contextmanager
def binary_known(config: Any) -> Iterator[None]:
    """Give a strategy the path of its program, for which it would search for each agent.

    The search reads the list of all files of the SDK's package, which takes longer than everything
    else in opening an agent (google-antigravity 0.1.22).
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
    """Return whether this module knows how a strategy starts its process."""
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


@functools.cache  # Once: all agents use the same release.
def _warn_of_unknown_shape() -> None:
    logger.warning(
        "This release of google-antigravity starts its harness in an unknown way;"
        " each agent has its own process, and the time of starts and stops is not limited"
    )


def _may_share(strategy: Any) -> bool:
    # A process ends its MCP servers at its own end, not at the end of a conversation.
    return type(strategy) in SHARING and not getattr(strategy, "_mcp_servers", True)
