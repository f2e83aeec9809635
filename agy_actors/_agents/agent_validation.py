"""Makes the `AgentSpec` from a user's arguments, and refuses invalid ones."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.antigravity import AgentConfig
from google.antigravity.types import SessionContinuationMode

from agy_actors._actors.arguments import check_flag, check_integer, check_seconds, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._actors.runtime import current_runtime
from agy_actors._agents.approvals import off_the_loop
from agy_actors._agents.config_checks import check_config, check_path
from agy_actors._agents.config_secrets import api_keys, secrets_in, service_of
from agy_actors._agents.record import AgentSpec
from agy_actors._agents.retry_policy import RetryPolicy
from agy_actors._agents.setup_checks import check_database, check_setup, check_start
from agy_actors._sdk.make_agent import copy_config
from agy_actors._sdk.output_schema import OutputSchema
from agy_actors._sdk.private_folders import (
    make_private_folder,
    warn_of_readers,
    warn_once_of_readers,
)
from agy_actors._sdk.schema_models import model_of
from agy_actors._supervision.validation import check_restart

if TYPE_CHECKING:
    from pydantic import BaseModel

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._agents.budgets import Budgets
    from agy_actors._agents.creation_messages import CreateAgent
    from agy_actors._agents.rate_limit import PaceBoard
    from agy_actors._agents.turn_slots import TurnSlots
    from agy_actors._supervision.event_hub import EventHub

__all__ = ["build_spec", "check_resources"]

_NAMESPACE = uuid.UUID("6f1a5b0e-6f0c-5d5f-9d0b-3a2f5a1c7e11")
"""For conversation ids derived from names. Drawn once; it must never change."""

_APP_DATA = "app_data"
"""The folder, in the folder for conversations, for the harness's other files about them."""


def build_spec(
    message: CreateAgent,
    name: str,
    *,
    supervisor: str,
    path: str,
    save_dir: Path,
    durable: bool,
    hub: EventHub,
    pace: PaceBoard,
    slots: TurnSlots,
    budgets: Budgets,
    process_pool: AsyncioActorRef | None = None,
) -> AgentSpec:
    """Build an agent's spec.

    Args:
        message: the user's request.
        name: the agent's name under its supervisor.
        supervisor: the supervisor's name.
        path: the agent's name among all in `save_dir`.
        save_dir: where conversations are kept.
        durable: whether they are resumed by `path` in the next run.
        hub: where the agent's events go.
        pace: the paces of API keys.
        slots: the turns that run under the same supervisor.
        budgets: the budgets above the agent.
        process_pool: the actor that has shared processes; `None` if each agent has its own.

    Raises:
        InvalidConfig: names the argument, and the valid values.
    """
    config = message.config
    if not isinstance(config, AgentConfig):
        raise InvalidConfig(
            f"agent {name!r} needs a configuration of the SDK, such as"
            f" LocalAgentConfig(...), got {type(config).__name__}"
        )
    check_config(config, name)
    check_restart(message.restart)
    budgets = budgets.below(message.budget, f"agent {name!r}").reporting_to(hub, supervisor)
    if not isinstance(message.retry, RetryPolicy):
        raise InvalidConfig(f"retry must be an agy_actors.RetryPolicy, got {message.retry!r}")
    for field, bound in (
        ("max_model_errors", message.max_model_errors),
        ("max_empty_steps", message.max_empty_steps),
    ):
        check_integer(field, bound, least=0, error=InvalidConfig)
    if message.idle_timeout is not None:
        _check_seconds("idle_timeout", message.idle_timeout)
        if getattr(config, "triggers", None):
            raise InvalidConfig(
                f"agent {name!r} has triggers, which do not run while it sleeps: leave"
                " idle_timeout out"
            )
    _check_seconds("stop_timeout", message.stop_timeout)
    each = message.new_conversation_each_turn
    check_flag("new_conversation_each_turn", each, error=InvalidConfig)
    _check_conversation(message, name)
    conversation_id = config.conversation_id or _conversation_id(path, durable=durable)
    directory = Path(config.save_dir) if config.save_dir else save_dir
    schema = model_of(config.response_schema)
    prepared = copy_config(config).model_copy(
        update={
            "conversation_id": conversation_id,
            # Given, so that an agent can be resumed however early it dies
            # (docs/sdk_facts.rst, conversation-id).
            "session_continuation_mode": SessionContinuationMode.CREATE_OR_RESUME,
            "save_dir": str(directory),
            # Otherwise it keeps transcripts in the user's home for ever.
            "app_data_dir": config.app_data_dir or str(directory.resolve() / _APP_DATA),
            # The SDK wants text; `model_copy` may have put a model there.
            **({} if schema is None else {"response_schema": _schema_text(name, schema)}),
            **off_the_loop(config),
        }
    )
    try:
        output = OutputSchema.of(config)
    except ValueError as error:
        raise InvalidConfig(f"invalid response_schema for agent {name!r}: {error}") from error
    check_setup(config, name)
    if not message.new_conversation_each_turn:
        check_database(directory / f"{conversation_id}.db", name)
    secrets = tuple(secrets_in(config))
    check_start(prepared, name, secrets)
    for folder in _own_folders(config, save_dir):
        warn_once_of_readers(folder)
    return AgentSpec(
        name=name,
        supervisor=supervisor,
        config=prepared,
        conversation_id=conversation_id,
        new_conversation_each_turn=message.new_conversation_each_turn,
        save_dir=directory,
        retry=message.retry,
        max_model_errors=message.max_model_errors,
        max_empty_steps=message.max_empty_steps,
        idle_timeout=message.idle_timeout,
        stop_timeout=message.stop_timeout,
        hub=hub,
        pace=pace,
        slots=slots,
        budgets=budgets,
        process_pool=process_pool,
        pace_key=_pace_key(config),
        secrets=secrets,
        output=output,
        service=service_of(config),
    )


def _own_folders(config: AgentConfig, save_dir: Path) -> list[Path]:
    """Return the folders that a configuration names, except those that another one protects."""
    protected = save_dir.resolve()  # The supervisor has warned of this one.
    own: list[Path] = []
    for named in (config.save_dir, config.app_data_dir):
        if named:
            folder = Path(named).resolve()
            if not any(folder.is_relative_to(other) for other in (protected, *own)):
                own.append(folder)
    return own


def _check_conversation(message: CreateAgent, name: str) -> None:
    """Refuse options that make no sense if each turn of a pool has its own conversation."""
    for field in ("conversation_id", "triggers"):
        if message.new_conversation_each_turn and getattr(message.config, field, None):
            raise InvalidConfig(
                f"each turn of a pool has a conversation of its own, so the configuration of"
                f" {name!r} cannot have {field}: leave it out, or create the pool with"
                " keep_conversation=True"
            )


def _pace_key(config: Any) -> str:
    """Return an identifier that agents with a common quota share: a fingerprint, not the secret."""
    keys = sorted(api_keys(config))
    where = getattr(config, "base_url", None) or getattr(config, "project", None) or ""
    shared = "\n".join(keys) or str(where)
    return hashlib.sha256(shared.encode()).hexdigest()[:12]


def _schema_text(name: str, model: type[BaseModel]) -> str:
    try:
        return json.dumps(model.model_json_schema())
    except Exception as error:
        raise InvalidConfig(f"invalid response_schema for agent {name!r}: {error}") from error


def _check_seconds(name: str, seconds: object) -> None:
    check_seconds(name, seconds, error=InvalidConfig)


def _conversation_id(name: str, *, durable: bool) -> str:
    return uuid.uuid5(_NAMESPACE, name).hex if durable else current_runtime().new_id()


def check_resources(
    *,
    turn_spacing: object,
    state_dir: object,
    max_conversations_per_process: object,
    max_running_turns: object,
) -> Path | None:
    """Refuse invalid arguments of a supervisor of agents, and return the path of `state_dir`.

    The folder is created if it does not exist.

    Raises:
        InvalidConfig: names the argument, and valid values.
    """
    check_seconds("turn_spacing", turn_spacing, error=InvalidConfig, zero=True, infinite=False)
    per_process = max_conversations_per_process
    check_integer("max_conversations_per_process", per_process, least=1, error=InvalidConfig)
    if max_running_turns is not None:
        check_integer("max_running_turns", max_running_turns, least=1, error=InvalidConfig)
    return None if state_dir is None else _usable_directory(state_dir)


def _usable_directory(state_dir: object) -> Path:
    path = check_path("state_dir", state_dir)
    try:
        directory = Path(path).expanduser().resolve()
    # For example a NUL, an unknown user or a circle of links.
    except (OSError, ValueError, RuntimeError) as error:
        raise InvalidConfig(f"state_dir {shown(path)} cannot be used: {error}") from error
    try:
        make_private_folder(directory)
    except OSError as error:
        raise InvalidConfig(f"state_dir {directory} cannot be used: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InvalidConfig(f"state_dir {directory} cannot be used: it cannot be written to")
    warn_of_readers(directory)
    return directory
