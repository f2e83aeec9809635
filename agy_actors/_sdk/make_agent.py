"""Creates SDK agents from configurations whose parts cannot be copied.

An SDK agent makes a deep copy of its configuration, and then puts the user's own tools, hooks,
triggers and policies back into the copy (google-antigravity 0.1.22). The deep copy includes the
objects of bound methods, and fails if one of these has a lock, for example.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from google.antigravity import Agent

from agy_actors._sdk.sdk_logging import redirect_logging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.antigravity import AgentConfig

__all__ = ["copy_config", "make_agent"]

_THE_USERS_OWN = ("tools", "hooks", "triggers", "policies")


def copy_config(config: AgentConfig) -> AgentConfig:
    """Return a copy that later changes of the configuration do not affect.

    The user's tools, hooks, triggers and policies are the same objects in both, in separate lists.
    Other values are copied if possible, and shared otherwise.
    """
    return config.model_copy(
        update={name: _copy(name, value) for name, value in config.__dict__.items()}
    )


def _copy(name: str, value: Any) -> Any:
    if name in _THE_USERS_OWN:
        return list(value) if isinstance(value, list) else value
    if name == "subagents" and isinstance(value, list):
        return [_copy_subagent(subagent) for subagent in value]
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 (a user's object, in a subclass of a configuration)
        return value


def _copy_subagent(subagent: Any) -> Any:
    copied = {
        name: list(value) if name == "tools" and value is not None else _copy(name, value)
        for name, value in subagent.__dict__.items()
    }
    return subagent.model_copy(update=copied)


def make_agent(config: AgentConfig) -> Agent:
    """Create an SDK agent with the tools, hooks, triggers and policies of `config`, uncopied.

    Raises:
        Exception: the SDK rejects the configuration.
    """
    own: dict[str, Any] = {name: list(getattr(config, name)) for name in _THE_USERS_OWN}
    own["subagents"] = [subagent.model_copy() for subagent in config.subagents]
    without: dict[str, Any] = {name: [] for name in own}
    # Subagents have their own tools, and their names are needed.
    without["subagents"] = [sub.model_copy(update={"tools": []}) for sub in config.subagents]
    bare = config.model_copy(update=without)

    def model_copy(*, update: Mapping[str, Any] | None = None, deep: bool = False) -> AgentConfig:
        return bare.model_copy(update=update, deep=deep).model_copy(update=own)

    lent = config.model_copy()
    object.__setattr__(lent, "model_copy", model_copy)  # Around pydantic: it has no such field.
    redirect_logging()
    return Agent(lent)
