"""Reads what a `.env` file sets and the environment does not.

Once a supervisor starts, and not at import: only then is it known that anybody wants it.
"""

from __future__ import annotations

import os

import dotenv

__all__ = ["DOTENV_SWITCH", "load_dotenv", "missing_values"]

DOTENV_SWITCH = "AGY_ACTORS_DOTENV"
"""Set to `0`, no file is looked for."""


def missing_values() -> dict[str, str]:
    """Return what the nearest `.env`, here or in a folder above, sets and the environment not.

    Raises:
        OSError: it cannot be read. The error names the file, and nothing that is in it.
    """
    if os.environ.get(DOTENV_SWITCH, "").strip().lower() in {"0", "no", "off", "false"}:
        return {}
    path = dotenv.find_dotenv(usecwd=True)
    if not path:
        return {}
    try:
        values = dotenv.dotenv_values(path)
    except (OSError, UnicodeError) as error:
        # Its text may hold a key, and the error a piece of its text.
        raise OSError(f"{path} cannot be read ({type(error).__name__})") from None
    return {
        name: value
        for name, value in values.items()
        if value is not None and name not in os.environ
    }


def load_dotenv() -> None:
    """Set it, for this process and those it starts.

    Raises:
        OSError: see `missing_values`.
    """
    os.environ.update(missing_values())
