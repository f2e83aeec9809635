"""Runs tools and hooks with the context variables of whoever asked for the turn.

The SDK runs them in tasks of its own, whose variables are those of the session's start.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine, Iterable

    Variables = Iterable[tuple[contextvars.ContextVar[Any], Any]]

__all__ = ["lend_variables"]


def lend_variables(runner: object, variables: Callable[[], Variables]) -> None:
    """Have every public coroutine method of a runner run with some variables set.

    Args:
        runner: the SDK's runner of an agent's tools, or of its hooks.
        variables: returns them, with their values, at each call.
    """
    for name, method in inspect.getmembers(runner, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            setattr(runner, name, _with_variables(method, variables))


def _with_variables(
    method: Callable[..., Coroutine[Any, Any, Any]], variables: Callable[[], Variables]
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        # Set and reset, for the task that calls may be one that goes on to the next turn.
        tokens = [(variable, variable.set(value)) for variable, value in variables()]
        try:
            return await method(*args, **kwargs)
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)

    return call
