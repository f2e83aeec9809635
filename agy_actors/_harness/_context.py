"""What tools and hooks are run with, and what hooks decide.

The SDK runs them in tasks of its own, whose context variables are those of the session's
start; here they get those of whoever asked for the turn. And it tells that a hook denied a
prompt by an error like any other, in the hook's own words.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine, Iterable

    Variables = Iterable[tuple[contextvars.ContextVar[Any], Any]]

__all__ = ["lend_variables", "watch_denials"]


def lend_variables(runner: object, variables: Callable[[], Variables]) -> None:
    """Have every public coroutine method of a runner run with some variables set.

    Args:
        runner: the SDK's runner of an agent's tools, or of its hooks.
        variables: returns them, with their values, at each call.
    """
    for name, method in inspect.getmembers(runner, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            setattr(runner, name, _with_variables(method, variables))


def watch_denials(hook_runner: Any, on_denial: Callable[[str], None]) -> None:
    """Have `on_denial` called with the reason when a hook denies a prompt.

    Args:
        hook_runner: the SDK's runner of an agent's hooks.
        on_denial: called on the agent's loop.
    """
    dispatch = hook_runner.dispatch_pre_turn

    async def dispatch_pre_turn(*args: Any, **kwargs: Any) -> Any:
        outcome = await dispatch(*args, **kwargs)
        result, _ = outcome
        if result is not None and not result.allow:
            on_denial(result.message or "")
        return outcome

    hook_runner.dispatch_pre_turn = dispatch_pre_turn


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
