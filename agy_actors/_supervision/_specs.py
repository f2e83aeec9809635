"""From what a user gives to what an agent is built of; all that can be wrong is said here."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.antigravity import Agent, AgentConfig
from google.antigravity.types import SessionContinuationMode

from agy_actors._agent import AgentSpec, InvalidConfig, RetryPolicy
from agy_actors._supervision._decisions import Restart

if TYPE_CHECKING:
    from agy_actors._supervision._messages import CreateAgent

__all__ = ["build_spec", "check_name"]

_NAME = re.compile(r"[\w.@+ -]{1,100}")
_NAMESPACE = uuid.UUID("6f1a5b0e-6f0c-5d5f-9d0b-3a2f5a1c7e11")
"""For conversation ids derived from names. Drawn once; it must never change."""

_SHORTEST_SECRET = 6  # Replacing shorter strings would garble messages, and hide nothing.


def check_name(name: object) -> None:
    """Refuse a name that cannot be one.

    Raises:
        InvalidConfig: says what a name is.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not name.strip():
        raise InvalidConfig(
            f"an agent's name is 1 to 100 letters, digits, spaces or any of . @ + _ -, got {name!r}"
        )


def build_spec(
    message: CreateAgent, name: str, *, supervisor: str, save_dir: Path, durable: bool
) -> AgentSpec:
    """Build an agent's spec.

    Raises:
        InvalidConfig: names what is wrong, and what to give instead.
    """
    config = message.config
    if not isinstance(config, AgentConfig):
        raise InvalidConfig(
            f"agent {name!r} needs a configuration of the SDK, such as"
            f" LocalAgentConfig(...), got {type(config).__name__}"
        )
    if not isinstance(message.restart, Restart):
        raise InvalidConfig(f"restart is one of agy_actors.Restart, got {message.restart!r}")
    if not isinstance(message.retry, RetryPolicy):
        raise InvalidConfig(f"retry is an agy_actors.RetryPolicy, got {message.retry!r}")
    for field, bound in (
        ("max_model_errors", message.max_model_errors),
        ("max_empty_steps", message.max_empty_steps),
        ("retry.attempts", message.retry.attempts),
    ):
        least = 1 if field == "retry.attempts" else 0
        if not isinstance(bound, int) or bound < least:
            raise InvalidConfig(f"{field} is a whole number from {least}, got {bound!r}")
    conversation_id = config.conversation_id or _conversation_id(name, durable=durable)
    directory = Path(config.save_dir) if config.save_dir else save_dir
    prepared = config.model_copy(
        update={
            "conversation_id": conversation_id,
            # F10: known from the start, so that an agent can be resumed however early it dies.
            "session_continuation_mode": SessionContinuationMode.CREATE_OR_RESUME,
            "save_dir": str(directory),
        }
    )
    try:
        Agent(prepared)  # It copies the configuration, to the depth of the tools' objects.
    except Exception as error:
        raise InvalidConfig(
            f"the SDK cannot use the configuration of agent {name!r}: {error}"
        ) from error
    return AgentSpec(
        name=name,
        supervisor=supervisor,
        config=prepared,
        conversation_id=conversation_id,
        save_dir=directory,
        retry=message.retry,
        max_model_errors=message.max_model_errors,
        max_empty_steps=message.max_empty_steps,
        secrets=tuple(_secrets(config)),
    )


def _conversation_id(name: str, *, durable: bool) -> str:
    return (uuid.uuid5(_NAMESPACE, name) if durable else uuid.uuid4()).hex


def _secrets(config: Any) -> set[str]:
    found = {getattr(config, "api_key", None)}
    for target in getattr(config, "models", None) or ():
        endpoint = getattr(target, "endpoint", None)
        found.add(getattr(endpoint, "api_key", None))
        found.update((getattr(endpoint, "http_headers", None) or {}).values())
    return {value for value in found if isinstance(value, str) and len(value) >= _SHORTEST_SECRET}
