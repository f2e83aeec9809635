"""Reads the text of an option, which may be in a file."""

from __future__ import annotations

from pathlib import Path

from agy_actors.cli.usage_problem import UsageProblem

__all__ = ["read_option_text"]


def read_option_text(option: str, value: str | None) -> str | None:
    """Return the text of an option: its value, or the content of the file after an ``@``.

    Args:
        option: the option, such as ``--system``, for errors.
        value: the value; ``@FILE`` for a file, and ``@@`` for a text that begins with ``@``. `None`
            if the option is not given.

    Raises:
        UsageProblem: the file cannot be read, or the text is blank or contains a NUL character.
    """
    if value is None:
        return None
    where = option
    if value.startswith("@@"):
        value = value[1:]
    elif value.startswith("@"):
        where = f"{option} {value}"
        try:
            # Without the file's last line end, which editors add.
            value = Path(value[1:]).read_text(encoding="utf-8-sig").removesuffix("\n")
        except UnicodeDecodeError:
            raise UsageProblem(f"{where}: not UTF-8; save the file as UTF-8") from None
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it.
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageProblem(
                f"{where}: the file cannot be read: {why}; name a text file, or write @@ for a text"
                " that begins with @"
            ) from error
    if not value.strip():
        raise UsageProblem(f"{where} is empty; write a text, or leave the option out")
    if "\0" in value:
        raise UsageProblem(f"{where} contains a NUL character, which is not text")
    return value
