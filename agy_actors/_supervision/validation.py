"""Checks of the arguments for a supervisor or a child."""

from __future__ import annotations

import re
import unicodedata

from agy_actors._actors.arguments import check_integer, check_seconds, normalize, shown
from agy_actors._actors.errors import InvalidConfig
from agy_actors._supervision.restart_policy import Backoff, Restart, Strategy

__all__ = ["check_name", "check_restart", "check_supervisor"]

_LONGEST_NAME = 100
"""Characters; arbitrary."""

_NAME = re.compile(r"[\w.@+ -]+")


def check_name(name: object) -> str:
    """Return the name of a child or a supervisor in Unicode's normal form C.

    Raises:
        InvalidConfig: it is not a valid name. The error states the rules.
    """
    normal = normalize(name) if isinstance(name, str) else ""
    if not _is_name(normal):
        raise InvalidConfig(
            "a name (of an agent, a pool or a supervisor) must be 1 to 100 letters, digits, spaces"
            f" or any of . @ + _ -, and not only dots and spaces, got {shown(name)}"
        )
    return normal


def _is_name(name: str) -> bool:
    if len(name) > _LONGEST_NAME:
        return False
    # `re` does not count marks as letters, which many scripts use for vowels.
    letters = "".join(c for c in name if not unicodedata.category(c).startswith("M"))
    return bool(_NAME.fullmatch(letters) and letters.strip(" ."))


def check_restart(restart: object) -> None:
    """Refuse a value of `restart` that is not a `Restart`.

    Raises:
        InvalidConfig: names the value.
    """
    if not isinstance(restart, Restart):
        raise InvalidConfig(f"restart must be one of agy_actors.Restart, got {restart!r}")


def check_supervisor(
    *,
    name: object,
    strategy: object,
    max_restarts: object,
    within: object,
    backoff: object,
    hang_timeout: object = None,
) -> None:
    """Refuse invalid arguments of a supervisor.

    Raises:
        InvalidConfig: names the argument, and valid values.
    """
    if name is not None:
        check_name(name)
    if not isinstance(strategy, Strategy):
        raise InvalidConfig(f"strategy must be one of agy_actors.Strategy, got {strategy!r}")
    check_integer("max_restarts", max_restarts, least=0, error=InvalidConfig)
    check_seconds("within", within, error=InvalidConfig)
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidConfig(f"backoff must be an agy_actors.Backoff, got {backoff!r}")
    if hang_timeout is not None:
        check_seconds("hang_timeout", hang_timeout, error=InvalidConfig)
