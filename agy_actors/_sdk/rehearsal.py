"""Lets the SDK check a configuration without starting a process.

The SDK checks much of a configuration only when it starts an agent: keys, names of tools, policies,
the signatures of tools. It does so before it starts a process, so a rehearsal runs its start up to
that point (google-antigravity 0.1.22).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from google.antigravity.connections.local import local_connection

from agy_actors._sdk.adapter import SHARING, binary_known, is_of_known_shape
from agy_actors._sdk.call_outcomes import capture, name_of
from agy_actors._sdk.make_agent import make_agent
from agy_actors._sdk.process.harness_process import READER_THREADS

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["rehearse"]


class _FarEnoughError(BaseException):
    """Ends a rehearsal. It is not an `Exception`, which the SDK would log."""


def rehearse(config: AgentConfig) -> None:
    """Create an agent and start it without its process. Leaves nothing behind.

    If the strategy of the configuration does more than start a process, the agent is only created.

    Raises:
        Exception: the SDK rejects the configuration.
        FileNotFoundError: the program of the harness does not exist.
        PermissionError: the program of the harness cannot be run.
    """
    agent = make_agent(config)
    if not hasattr(config, "env"):  # Every configuration with a harness has this field.
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

    object.__setattr__(lent, "create_strategy", create_strategy)  # Around pydantic.
    outcome = None

    def start() -> None:
        nonlocal outcome
        opening = agent.__aenter__()
        outcome = capture(opening.send, None)
        opening.close()

    # The SDK logs its findings. `sdk_logging` drops them in threads with such a name.
    thread = threading.Thread(target=start, name=f"{READER_THREADS}rehearsal", daemon=True)
    thread.start()
    thread.join()
    assert outcome is not None
    if isinstance(outcome.error, Exception) and not isinstance(outcome.error, StopIteration):
        _name_tool(lent, outcome.error)
        raise outcome.error


def _name_tool(config: Any, error: Exception) -> None:
    """Raise an error about a tool's parameters again with the tool's name, if it is one."""
    for tool in config._get_all_custom_tools():  # noqa: SLF001
        own = capture(local_connection.callable_to_tool_proto, tool).error
        if own is not None and str(own) == str(error):
            raise ValueError(
                f"no schema can be made of the parameters of tool {name_of(tool)!r}: {error}"
            ) from error


def _check_binary(path: str) -> None:
    with contextlib.suppress(ValueError):  # The path has a NUL character: refused elsewhere.
        if not os.path.exists(path):  # noqa: PTH110 (the user's path)
            raise FileNotFoundError(f"the harness's program {path} does not exist")
        if not os.access(path, os.X_OK):
            raise PermissionError(f"the harness's program {path} cannot be run")
