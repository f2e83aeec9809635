"""From what a user gives to what an agent is built of; all that can be wrong is said here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.antigravity import AgentConfig
from google.antigravity.types import SessionContinuationMode

from agy_actors._agent import (
    AgentSpec,
    InvalidConfig,
    OutputSchema,
    RetryPolicy,
    make_private_folder,
    off_the_loop,
    warn_of_readers,
    warn_once_of_readers,
)
from agy_actors._harness import copy_config, model_of
from agy_actors._kernel import (
    check_flag,
    check_integer,
    check_seconds,
    current_host,
    normalize,
    shown,
)
from agy_actors._supervision._decisions import Backoff, Restart, Strategy
from agy_actors._supervision.config_checks import check_config, check_path
from agy_actors._supervision.config_secrets import api_keys, secrets_in, service_of
from agy_actors._supervision.setup_checks import check_database, check_setup, check_start

if TYPE_CHECKING:
    from pydantic import BaseModel

    from agy_actors._agent import PaceBoard
    from agy_actors._events import EventHub
    from agy_actors._kernel import AsyncioActorRef
    from agy_actors._supervision._messages import CreateAgent

__all__ = ["build_spec", "check_name", "check_supervisor"]

_LONGEST_NAME = 100  # Characters; arbitrary.
_NAME = re.compile(r"[\w.@+ -]+")
_NAMESPACE = uuid.UUID("6f1a5b0e-6f0c-5d5f-9d0b-3a2f5a1c7e11")
"""For conversation ids derived from names. Drawn once; it must never change."""

_APP_DATA = "app_data"
"""The folder, where conversations are kept, for what else the harness keeps of them."""


def check_name(name: object) -> str:
    """Return the name of an agent, a pool or a supervisor in Unicode's normal form C.

    Raises:
        InvalidConfig: it cannot be a name. It says what a name is.
    """
    normal = normalize(name) if isinstance(name, str) else ""
    if not _is_name(normal):
        raise InvalidConfig(
            "a name (of an agent, a pool or a supervisor) is 1 to 100 letters, digits, spaces or"
            f" any of . @ + _ -, and not only dots and spaces, got {shown(name)}"
        )
    return normal


def _is_name(name: str) -> bool:
    if len(name) > _LONGEST_NAME:
        return False
    # Marks, which many scripts write vowels with, are not letters to `re`.
    letters = "".join(c for c in name if not unicodedata.category(c).startswith("M"))
    return bool(_NAME.fullmatch(letters) and letters.strip(" ."))


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
    host: AsyncioActorRef | None = None,
) -> AgentSpec:
    """Build an agent's spec.

    Args:
        message: what the user wants.
        name: the agent's name under its supervisor.
        supervisor: the supervisor's name.
        path: the agent's name among all in `save_dir`.
        save_dir: where conversations are kept.
        durable: whether they are resumed by `path` in the next run.
        hub: where the agent's events go.
        pace: the paces of API keys.
        host: who has processes to share.

    Raises:
        InvalidConfig: names what is wrong, and what to give instead.
    """
    config = message.config
    if not isinstance(config, AgentConfig):
        raise InvalidConfig(
            f"agent {name!r} needs a configuration of the SDK, such as"
            f" LocalAgentConfig(...), got {type(config).__name__}"
        )
    check_config(config, name)
    if not isinstance(message.restart, Restart):
        raise InvalidConfig(f"restart is one of agy_actors.Restart, got {message.restart!r}")
    if not isinstance(message.retry, RetryPolicy):
        raise InvalidConfig(f"retry is an agy_actors.RetryPolicy, got {message.retry!r}")
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
            # F10: known from the start, so that an agent can be resumed however early it dies.
            "session_continuation_mode": SessionContinuationMode.CREATE_OR_RESUME,
            "save_dir": str(directory),
            # Else it keeps transcripts in the user's home, for good.
            "app_data_dir": config.app_data_dir or str(directory.resolve() / _APP_DATA),
            # The SDK wants text; `model_copy` may have put a model there.
            **({} if schema is None else {"response_schema": _schema_text(name, schema)}),
            **off_the_loop(config),
        }
    )
    try:
        output = OutputSchema.of(config)
    except ValueError as error:
        raise InvalidConfig(f"invalid response_schema of agent {name!r}: {error}") from error
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
        host=host,
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
    """Refuse what makes no sense where each turn of a pool has a conversation of its own."""
    for field in ("conversation_id", "triggers"):
        if message.new_conversation_each_turn and getattr(message.config, field, None):
            raise InvalidConfig(
                f"each turn of a pool has a conversation of its own, so the configuration of"
                f" {name!r} cannot have {field}: leave it out, or create the pool with"
                " keep_conversation=True"
            )


def _pace_key(config: Any) -> str:
    """Return what agents that share a quota have in common: no secret, but its fingerprint."""
    keys = sorted(api_keys(config))
    where = getattr(config, "base_url", None) or getattr(config, "project", None) or ""
    shared = "\n".join(keys) or str(where)
    return hashlib.sha256(shared.encode()).hexdigest()[:12]


def _schema_text(name: str, model: type[BaseModel]) -> str:
    try:
        return json.dumps(model.model_json_schema())
    except Exception as error:
        raise InvalidConfig(f"invalid response_schema of agent {name!r}: {error}") from error


def _check_seconds(name: str, seconds: object) -> None:
    check_seconds(name, seconds, error=InvalidConfig)


def _conversation_id(name: str, *, durable: bool) -> str:
    return uuid.uuid5(_NAMESPACE, name).hex if durable else current_host().new_id()


def check_supervisor(
    *,
    name: object,
    strategy: object,
    max_restarts: object,
    within: object,
    backoff: object,
    hang_timeout: object = None,
    turn_spacing: object = 0.0,
    state_dir: object = None,
    max_conversations_per_process: object = 1,
) -> Path | None:
    """Refuse a supervisor that cannot be, and return its `state_dir`, made if need be.

    Raises:
        InvalidConfig: names what is wrong, and what to give instead.
    """
    if name is not None:
        check_name(name)
    if not isinstance(strategy, Strategy):
        raise InvalidConfig(f"strategy is one of agy_actors.Strategy, got {strategy!r}")
    check_integer("max_restarts", max_restarts, least=0, error=InvalidConfig)
    _check_seconds("within", within)
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidConfig(f"backoff is an agy_actors.Backoff, got {backoff!r}")
    if hang_timeout is not None:
        _check_seconds("hang_timeout", hang_timeout)
    check_seconds("turn_spacing", turn_spacing, error=InvalidConfig, zero=True, infinite=False)
    most = max_conversations_per_process
    check_integer("max_conversations_per_process", most, least=1, error=InvalidConfig)
    return None if state_dir is None else _usable_directory(state_dir)


def _usable_directory(state_dir: object) -> Path:
    path = check_path("state_dir", state_dir)
    try:
        directory = Path(path).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # A NUL, no such user, a circle of links.
        raise InvalidConfig(f"state_dir {shown(path)} cannot be used: {error}") from error
    try:
        make_private_folder(directory)
    except OSError as error:
        raise InvalidConfig(f"state_dir {directory} cannot be used: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InvalidConfig(f"state_dir {directory} cannot be used: it cannot be written to")
    warn_of_readers(directory)
    return directory
