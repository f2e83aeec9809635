"""Reads the lines of a UTF-8 file."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["decode_line", "read_lines"]


def read_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Read the lines that are not blank, with their numbers from 1.

    Raises:
        UsageProblem: a line is not UTF-8, or contains a NUL character.
    """
    # Lines end at \n only: a JSON string may contain other line separators.
    for number, data in enumerate(file, 1):
        line = decode_line(data, name, number)
        if line:
            yield number, line


def decode_line(data: bytes, name: str, number: int) -> str:
    """Decode a line of a file, without the white space around it.

    Args:
        data: the line.
        name: the file's name, for errors.
        number: the line's number, from 1.

    Raises:
        UsageProblem: the line is not UTF-8, or contains a NUL character.
    """
    try:
        line = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageProblem(f"{name}, line {number}: not UTF-8; save the file as UTF-8") from error
    if "\0" in line:
        raise UsageProblem(
            f"{name}, line {number}: a NUL character, which is not text; save the file as UTF-8"
        )
    return line
