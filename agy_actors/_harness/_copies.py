"""Makes SDK agents of configurations that hold what cannot be copied.

An SDK agent makes a deep copy of its configuration, then puts the user's own tools, hooks,
triggers and policies back into it. A bound method, of an object with a lock say, is copied
all the same, and the lock cannot be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.antigravity import Agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.antigravity import AgentConfig

__all__ = ["make_agent"]

_THE_USERS_OWN = ("tools", "hooks", "triggers", "policies")


def make_agent(config: AgentConfig) -> Agent:
    """Make an SDK agent with the very tools, hooks, triggers and policies of `config`.

    Raises:
        Exception: whatever the SDK finds wrong with the configuration.
    """
    own: dict[str, Any] = {name: list(getattr(config, name)) for name in _THE_USERS_OWN}
    own["subagents"] = [subagent.model_copy() for subagent in config.subagents]
    without: dict[str, Any] = {name: [] for name in own}
    # They have tools of their own, and names that must be there.
    without["subagents"] = [sub.model_copy(update={"tools": []}) for sub in config.subagents]
    bare = config.model_copy(update=without)

    def model_copy(*, update: Mapping[str, Any] | None = None, deep: bool = False) -> AgentConfig:
        return bare.model_copy(update=update, deep=deep).model_copy(update=own)

    lent = config.model_copy()
    object.__setattr__(lent, "model_copy", model_copy)  # Past pydantic, which has no such field.
    return Agent(lent)
