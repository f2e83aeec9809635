"""Patches the SDK's runners of tools and hooks.

The SDK runs tools and hooks in its own tasks, with the context variables of the session's start.
These patches give them the context variables of the caller of the turn. They also report when a
hook denies a prompt, for which the SDK raises an ordinary error with the hook's text.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractContextManager

    Around = Callable[..., AbstractContextManager[None]]

__all__ = ["no_variables", "run_around", "watch_denials"]


def no_variables(*, variables: bool = True) -> AbstractContextManager[None]:  # noqa: ARG001 (none)
    """Return a context manager that does nothing."""
    return contextlib.nullcontext()


def run_around(runner: object, around: Around) -> None:
    """Run every public coroutine method of a runner inside a context manager.

    Args:
        runner: the SDK's runner of an agent's tools or hooks.
        around: returns the context manager for each call. Unless called with `variables=False`,
            it may set context variables. It must reset them, because the calling task may
            continue with the next turn.
    """
    for name, method in inspect.getmembers(runner, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            setattr(runner, name, _inside(method, around))


def watch_denials(hook_runner: Any, on_denial: Callable[[str], None]) -> None:
    """Call `on_denial` with the reason when a hook denies a prompt.

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


def _inside(
    method: Callable[..., Coroutine[Any, Any, Any]], around: Around
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with around():
            return await method(*args, **kwargs)

    return call
