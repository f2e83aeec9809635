"""Checks of an agent's configuration that the SDK does not make: texts, paths and variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agy_actors._actors.arguments import find_surrogate, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._sdk.config_texts import list_texts

if TYPE_CHECKING:
    from google.antigravity import AgentConfig

__all__ = ["check_config", "check_path"]


def check_config(config: AgentConfig, name: str) -> None:
    """Refuse a configuration that cannot be used to start a process or be sent to it.

    Args:
        config: the configuration.
        name: the agent's name, for the error.

    Raises:
        InvalidConfig: names the field. It does not quote texts, which may be API keys.
    """
    for place, text in list_texts(config):
        if (position := find_surrogate(text)) is not None:
            raise InvalidConfig(
                f"{place} in the configuration of agent {name!r} contains a lone surrogate"
                f" ({text[position]!a} at position {position}), which cannot be encoded: replace"
                " it, for example with text.encode(errors='replace').decode()"
            )
    for place, path in _paths(config):
        check_path(f"{place} in the configuration of agent {name!r}", path)
    for field in ("save_dir", "app_data_dir"):
        if (path := getattr(config, field, None)) is not None:
            _check_folder(f"{field} of agent {name!r}", path)
    for place, variables in _environments(config):
        _check_variables(f"{place} in the configuration of agent {name!r}", variables)


def check_path(what: str, path: object) -> str:
    """Return the path of a folder as text.

    Args:
        what: what the path is for, for the error.
        path: the path.

    Raises:
        InvalidConfig: it is not text or an `os.PathLike`, or is not a valid path.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise InvalidConfig(f"{what} must be the path of a folder, got {shown(path)}")
    if "\0" in text or find_surrogate(text) is not None:
        raise InvalidConfig(
            f"{what} must be the path of a folder, without NUL and lone surrogates,"
            f" got {shown(path)}"
        )
    return text


def _paths(config: Any) -> Iterator[tuple[str, object]]:
    for field in ("save_dir", "app_data_dir"):
        if (path := getattr(config, field, None)) is not None:
            yield field, path
    for field in ("workspaces", "skills_paths"):
        for number, path in enumerate(getattr(config, field, None) or ()):
            yield f"{field}[{number}]", path


def _check_folder(what: str, path: str) -> None:
    """Refuse a path that is not a folder and cannot become one. It need not exist."""
    folder = Path(path).absolute()
    try:
        # Not resolved: a broken link or a circle of links exists and is not a folder.
        existing = next(path for path in (folder, *folder.parents) if _is_there(path))
        is_folder = existing.is_dir()
    except (OSError, RuntimeError) as error:  # It is too long, or cannot be read.
        raise InvalidConfig(f"{what} cannot be used: {error}") from error
    if not is_folder:
        raise InvalidConfig(f"{what} cannot be used: {existing} is not a folder")


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _environments(config: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    servers = enumerate(getattr(config, "mcp_servers", None) or ())
    owners = [("", config), *((f"mcp_servers[{number}].", server) for number, server in servers)]
    for prefix, owner in owners:
        if isinstance(variables := getattr(owner, "env", None), Mapping):
            yield f"{prefix}env", variables


def _check_variables(what: str, variables: Mapping[Any, Any]) -> None:
    for variable, value in variables.items():
        if not str(variable) or "=" in str(variable) or "\0" in str(variable):
            raise InvalidConfig(
                f"{what} has a name that no environment variable can have: {shown(variable)}"
            )
        if "\0" in str(value):  # Not quoted: it may be a secret.
            raise InvalidConfig(f"{what} has a NUL in the value of {variable}")
