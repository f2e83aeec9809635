"""The keyword arguments of the methods that make children, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from agy_actors._agents.budget import Budget
    from agy_actors._agents.retry_policy import RetryPolicy
    from agy_actors._supervision.restart_policy import Backoff, Restart, Strategy
    from agy_actors._supervision.routing import Routing

__all__ = ["AgentOptions", "PoolOptions", "SessionsOptions", "SupervisorOptions"]


class AgentOptions(TypedDict, total=False):
    """The options of `create_agent`."""

    restart: Restart
    retry: RetryPolicy | None
    max_model_errors: int
    max_empty_steps: int
    idle_timeout: float | None
    stop_timeout: float
    budget: Budget | None
    timeout: float | None


class SupervisorOptions(TypedDict, total=False):
    """The options of `create_supervisor`."""

    strategy: Strategy
    max_restarts: int
    within: float
    backoff: Backoff | None
    restart: Restart
    budget: Budget | None
    timeout: float | None


class PoolOptions(TypedDict, total=False):
    """The options of `create_pool`."""

    routing: Routing
    max_size: int | None
    shrink_after: float
    capacity: int
    retry: RetryPolicy | None
    max_restarts: int
    within: float
    idle_timeout: float | None
    keep_conversation: bool
    budget: Budget | None
    timeout: float | None


class SessionsOptions(TypedDict, total=False):
    """The options of `create_sessions`."""

    max_awake: int
    idle_timeout: float | None
    capacity: int
    retry: RetryPolicy | None
    max_restarts: int
    within: float
    keep_results: float
    budget: Budget | None
    timeout: float | None
