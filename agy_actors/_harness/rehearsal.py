"""Finds out what the SDK has against a configuration, without a process.

The SDK checks much of a configuration only when it starts an agent: keys, names of tools,
policies, the signatures of tools. It does so before it starts a process, so its start can be
made up to that point and no further (google-antigravity 0.1.22).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection

from agy_actors._harness._copies import make_agent
from agy_actors._harness._launch import SHARING, binary_known, is_of_known_shape
from agy_actors._harness._outcomes import capture, name_of
from agy_actors._harness._process import READER_THREADS

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["rehearse"]


class _FarEnoughError(BaseException):
    """Ends a rehearsal. No `Exception`: the SDK would log it."""


def rehearse(config: AgentConfig) -> None:
    """Make an agent and start it, but for its process. Leaves nothing behind.

    A configuration whose strategy does more than to start a process is only made an agent of.

    Raises:
        Exception: whatever the SDK finds wrong with the configuration.
        FileNotFoundError: the program of the harness is not there.
        PermissionError: the program of the harness cannot be run.
    """
    agent = make_agent(config)
    if not hasattr(config, "env"):  # Of those that start a harness, each has it.
        return
    lent: Any = agent._config  # noqa: SLF001
    create = lent.create_strategy

    def create_strategy(**runners: Any) -> Any:
        with binary_known(lent):
            strategy = create(**runners)
        if type(strategy) not in SHARING or not is_of_known_shape(strategy):
            raise _FarEnoughError
        strategy._spawn_harness_and_connect_ws = spawn  # noqa: SLF001
        _check_binary(strategy._binary_path)  # noqa: SLF001
        return strategy

    async def spawn(**_: Any) -> None:
        raise _FarEnoughError

    object.__setattr__(lent, "create_strategy", create_strategy)  # Past pydantic.
    outcome = None

    def start() -> None:
        nonlocal outcome
        opening = agent.__aenter__()
        outcome = capture(opening.send, None)
        opening.close()

    # The SDK logs what it finds on the root logger. What it logs on threads of such a name is
    # kept off it. See `_log`.
    thread = threading.Thread(target=start, name=f"{READER_THREADS}rehearsal", daemon=True)
    thread.start()
    thread.join()
    assert outcome is not None
    if isinstance(outcome.error, Exception) and not isinstance(outcome.error, StopIteration):
        _name_tool(lent, outcome.error)
        raise outcome.error


def _name_tool(config: Any, error: Exception) -> None:
    """Raise an error of a tool's parameters with the tool's name, which the SDK leaves out."""
    for tool in config._get_all_custom_tools():  # noqa: SLF001
        own = capture(local_connection.callable_to_tool_proto, tool).error
        if own is not None and str(own) == str(error):
            raise ValueError(
                f"no schema can be made of the parameters of tool {name_of(tool)!r}: {error}"
            ) from error


def _check_binary(path: str) -> None:
    with contextlib.suppress(ValueError):  # A NUL: it is refused elsewhere.
        if not os.path.exists(path):  # noqa: PTH110 (no path of ours)
            raise FileNotFoundError(f"the harness's program {path} does not exist")
        if not os.access(path, os.X_OK):
            raise PermissionError(f"the harness's program {path} cannot be run")
