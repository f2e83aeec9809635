"""Runs the custom tools of an agent, so that the model is told of whatever comes of a call.

The SDK tells the model of an `Exception` that a tool raises. Anything else that is raised
never reaches it: the harness waits for the tool for ever (google-antigravity 0.1.22). And
what it makes of some results, it tells nobody: see `_tool_results`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from google.antigravity.tools.tool_runner import ToolWithSchema
from loguru import logger

from agy_actors._harness._outcomes import capture, describe, is_ordinary, isolate, run_in_thread
from agy_actors._harness._tool_results import fit_error, fit_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from agy_actors._harness._outcomes import Outcome

__all__ = ["ToolFailed", "call_tool", "guard_tools"]


class ToolFailed(Exception):
    """What the model is told of a tool's call that failed."""


def guard_tools(runner: Any) -> None:
    """Have a runner tell the model whatever its tools raise, and results that it can use.

    Args:
        runner: the SDK's runner of an agent's tools.
    """
    execute = runner.execute

    async def execute_tool(tool_name: str, /, **kwargs: Any) -> Any:
        outcome = await isolate(execute(tool_name, **kwargs))
        if outcome.error is None:
            outcome = outcome.value
        if outcome.error is None:
            return outcome.value
        # Not from the tool's own: whoever formats a chain of errors formats each.
        raise _told(outcome.error, tool_name) from None

    runner._execute_fn = call_tool  # noqa: SLF001
    runner.execute = execute_tool


async def call_tool(function: Callable[..., Any], /, **kwargs: Any) -> Outcome:
    """Call a tool as the SDK does, and return its outcome: a result that can be sent.

    A plain function runs on a thread of its own. Cancelled if the caller is.
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
    # On the tool's own thread: the result may be large.
    return result if inspect.isawaitable(result) else fit_result(result)


async def _await(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    return fit_result(await function(**kwargs))


def _is_async(function: Any) -> bool:
    while isinstance(function, ToolWithSchema):
        function = function.fn
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 # of an object
    )


def _told(error: BaseException, tool: str) -> Exception:
    """Return what is to be raised for the model to be told."""
    if not is_ordinary(error):
        logger.warning("Tool {!r} raised {}", tool, type(error).__name__)
    text = capture(str, error)
    said = text.value if text.error is None and is_ordinary(error) else ""
    if not said.strip():
        said = describe(error)
    fitting = fit_error(said)
    if isinstance(error, Exception) and said == fitting == text.value:
        return error
    return ToolFailed(fitting)
