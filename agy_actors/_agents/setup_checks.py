"""Checks the folders, files and addresses of a configuration.

The harness checks most of these only when a turn begins, which then fails. These checks find an
error earlier, and name the cause.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agy_actors._actors.arguments import shown
from agy_actors._sdk.error_text import redact
from agy_actors._sdk.errors import UnusableConfig
from agy_actors._sdk.rehearsal import rehearse
from agy_actors._sdk.start_errors import without_secrets

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterator

    from google.antigravity import AgentConfig

__all__ = ["check_database", "check_setup", "check_start"]

_SQLITE = b"SQLite format 3\0"  # How each database begins (https://sqlite.org/fileformat.html).


def check_setup(config: Any, name: str) -> None:
    """Refuse a configuration that names missing or unusable folders, files or addresses.

    Args:
        config: the configuration.
        name: the agent's name, for the error.

    Raises:
        UnusableConfig: names the server, the path or the address.
    """
    for problem in _problems(config):
        raise UnusableConfig(f"agent {name!r} cannot start: {problem}")


def check_database(database: Path, name: str) -> None:
    """Refuse a conversation's file that is not a database. It need not exist.

    Raises:
        UnusableConfig: names the file.
    """
    try:
        with database.open("rb") as file:
            head = file.read(len(_SQLITE))
    except FileNotFoundError:
        return
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    else:
        if head in (b"", _SQLITE):
            return
        problem = "is not a database"
    raise UnusableConfig(
        f"agent {name!r} cannot start: its conversation is kept in {database}, which {problem};"
        " move that file away, or use another name, conversation_id or folder"
    )


def check_start(config: AgentConfig, name: str, secrets: Collection[str]) -> None:
    """Refuse a configuration that the SDK would refuse when it starts an agent.

    Args:
        config: the configuration as the agent will have it.
        name: the agent's name, for the error.
        secrets: texts that the error must not show.

    Raises:
        UnusableConfig: quotes the SDK's error.
    """
    try:
        rehearse(config)
    except Exception as error:  # noqa: BLE001 (any error of the SDK)
        cause = without_secrets(error, lambda text: redact(text, secrets))
        # The SDK's words say all; its traceback would show how they were found out.
        raise UnusableConfig(
            f"the SDK cannot use the configuration of agent {name!r}: {cause}"
        ) from None


def _problems(config: Any) -> Iterator[str]:
    for server in getattr(config, "mcp_servers", None) or ():
        yield from _problems_of_server(server)
    for place, address in _addresses(config):
        if not _is_address(address):
            yield (
                f"{place} must be the address of a model's service, such as http://localhost:8000,"
                f" got {_readable(address)}"
            )
    for path in getattr(config, "skills_paths", None) or ():
        if _is_local(path) and not _exists(path):
            yield f"the folder {path} of its skills_paths does not exist"
    for path in getattr(config, "workspaces", None) or ():
        # The harness makes a workspace that does not exist.
        if _is_local(path) and _exists(path) and not Path(path).expanduser().is_dir():
            yield f"its workspace {path} is not a folder"


def _problems_of_server(server: Any) -> Iterator[str]:
    # A command may be there later: the harness looks for it in each turn if it is not running.
    url = getattr(server, "url", None)
    if isinstance(url, str) and not _is_address(url):
        yield (
            f"the url of its MCP server {server.name!r} must be an address, such as"
            f" http://localhost:8000/mcp, got {_readable(url)}"
        )


def _addresses(config: Any) -> Iterator[tuple[str, object]]:
    if getattr(config, "base_url", None):  # If it is missing, the SDK says so.
        yield "base_url", config.base_url
    for number, target in enumerate(getattr(config, "models", None) or ()):
        address = getattr(getattr(target, "endpoint", None), "base_url", None)
        if address:
            yield f"models[{number}].endpoint.base_url", address


def _is_address(address: object) -> bool:
    try:
        parts = urlsplit(str(address))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # For example an invalid port.
        return False


def _readable(address: object) -> str:
    """Return an address for an error, without the parts that may contain a password."""
    text = str(address)
    return "something else" if "@" in text or "?" in text else shown(text)


def _is_local(path: object) -> bool:
    return "://" not in str(path)


def _exists(path: str | os.PathLike[str]) -> bool:
    try:
        return Path(path).exists() or Path(path).expanduser().exists()
    except (OSError, RuntimeError):
        return False
