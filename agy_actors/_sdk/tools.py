"""Runs the custom tools of an agent so that the model gets every result and every error.

The SDK reports an `Exception` of a tool to the model. After any other `BaseException`, the harness
waits for the tool forever (google-antigravity 0.1.22). The SDK and the harness also change or drop
some results silently: see `tool_results`.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from google.antigravity.tools.tool_runner import ToolWithSchema
from loguru import logger

from agy_actors._actors.errors import AgyActorsError
from agy_actors._sdk.call_outcomes import capture, describe, is_ordinary, isolate, run_in_thread
from agy_actors._sdk.tool_results import fit_error, fit_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from agy_actors._sdk.call_outcomes import Outcome
    from agy_actors._sdk.tool_calls import ToolCalls

    AroundTool = Callable[
        [str, dict[str, Any]], AbstractContextManager[Callable[[BaseException], None]]
    ]

__all__ = ["ToolFailed", "call_tool", "guard_tools", "no_observer"]


class ToolFailed(AgyActorsError):
    """The error of a failed tool call, as the model gets it."""


def no_observer(
    name: str,  # noqa: ARG001 (it observes nothing)
    arguments: dict[str, Any],  # noqa: ARG001
) -> AbstractContextManager[Callable[[BaseException], None]]:
    """Return a context manager that does nothing."""
    return contextlib.nullcontext(lambda _: None)


def guard_tools(runner: Any, calls: ToolCalls, around: AroundTool = no_observer) -> None:
    """Make a runner report every error of its tools to the model, and fit results to its limits.

    Args:
        runner: the SDK's runner of an agent's tools.
        calls: the `ToolCalls` of the agent's conversation. It cancels calls when their turn ends.
        around: returns a context manager in which a tool is called, from its name and its
            arguments. It gives a function for the error of the tool.
    """
    execute = runner.execute

    async def execute_tool(tool_name: str, /, **kwargs: Any) -> Any:
        outcome = await calls.call(tool_name, lambda: call(tool_name, kwargs))
        if outcome.error is None:
            outcome = outcome.value
        if outcome.error is None:
            return outcome.value
        # `from None`: formatting a chain of errors would format the tool's own error, too.
        raise _error_for_model(outcome.error, tool_name) from None

    async def call(tool_name: str, kwargs: dict[str, Any]) -> Outcome:
        with around(tool_name, kwargs) as note_error:
            outcome: Outcome = await execute(tool_name, **kwargs)
            if outcome.error is not None:
                note_error(outcome.error)
        return outcome

    runner._execute_fn = call_tool  # noqa: SLF001
    runner.execute = execute_tool


async def call_tool(function: Callable[..., Any], /, **kwargs: Any) -> Outcome:
    """Call a tool as the SDK does, and return its outcome with a result that can be sent.

    A plain function runs on its own thread. Cancelling the caller cancels a coroutine function.
    """
    if _is_async(function):
        outcome = await isolate(_await(function, kwargs))
    else:
        outcome = await run_in_thread(_call, function, kwargs)
        if outcome.error is None and inspect.isawaitable(outcome.value):
            outcome = await isolate(outcome.value)
            if outcome.error is None:
                outcome = capture(fit_result, outcome.value)
    return outcome


def _call(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    result = function(**kwargs)
    # On the tool's own thread, because the result may be large.
    return result if inspect.isawaitable(result) else fit_result(result)


async def _await(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    return fit_result(await function(**kwargs))


def _is_async(function: Any) -> bool:
    while isinstance(function, ToolWithSchema):
        function = function.fn
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 # of an object
    )


def _error_for_model(error: BaseException, tool: str) -> Exception:
    """Return the error to raise so that the model gets the text of a tool's error."""
    if not is_ordinary(error):
        logger.warning("Tool {!r} raised {}", tool, type(error).__name__)
    text = capture(str, error)
    message = text.value if text.error is None and is_ordinary(error) else ""
    if not message.strip():
        message = describe(error)
    fitting = fit_error(message)
    if isinstance(error, Exception) and message == fitting == text.value:
        return error
    return ToolFailed(fitting)
