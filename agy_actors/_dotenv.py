"""Reads `.env` files.

Only the command line and `Supervisor.start(dotenv=True)` do this, not the import of agy_actors: a
library does not change the environment of its program.
"""

from __future__ import annotations

import os

import dotenv

from agy_actors._actors.arguments import shown
from agy_actors._actors.errors import InvalidConfig

__all__ = ["load_dotenv", "missing_values"]

_SWITCH = "AGY_ACTORS_DOTENV"
"""The environment variable that, set to `0`, disables `.env` files."""


def missing_values() -> dict[str, str]:
    """Return the variables in the nearest `.env` file that the environment does not have.

    The nearest file is in the working directory or in a folder above it.

    Raises:
        OSError: it cannot be read. The error has the path of the file, but no part of its content.
    """
    if os.environ.get(_SWITCH, "").strip().lower() in {"0", "no", "off", "false"}:
        return {}
    path = dotenv.find_dotenv(usecwd=True)
    if not path:
        return {}
    try:
        values = dotenv.dotenv_values(path)
    except (OSError, UnicodeError) as error:
        # The error's text may quote the content, which may contain a key.
        raise OSError(f"{path} cannot be read ({type(error).__name__})") from None
    return {
        name: value
        for name, value in values.items()
        if value is not None and name not in os.environ
    }


def load_dotenv(dotenv: bool) -> None:
    """Set these variables for this process and those that it starts, if `dotenv` is `True`.

    Raises:
        InvalidConfig: the file cannot be read, or `dotenv` is not a bool.
    """
    if not isinstance(dotenv, bool):
        raise InvalidConfig(f"dotenv must be True or False, got {shown(dotenv)}")
    if not dotenv:
        return
    try:
        os.environ.update(missing_values())
    except OSError as error:
        raise InvalidConfig(f"{error}; repair it, move it away, or set {_SWITCH}=0") from error
