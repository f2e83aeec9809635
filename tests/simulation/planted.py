"""Reads `planted_bugs.diff`, and plants its bugs in a copy of the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

__all__ = ["Bug", "Edit", "plant", "read_bugs"]

_BUGS = Path(__file__).with_name("planted_bugs.diff")


@dataclasses.dataclass
class Edit:
    """Replaces lines that occur once in a file of the package."""

    file: str
    old: str = ""
    new: str = ""


@dataclasses.dataclass
class Bug:
    """A bug and its edits."""

    name: str
    edits: list[Edit] = dataclasses.field(default_factory=list)


def read_bugs() -> list[Bug]:
    """Return all planted bugs."""
    bugs: list[Bug] = []
    for line in _BUGS.read_text().splitlines():
        sign, rest = line[:1], line[1:]
        if sign == "#":
            bugs.append(Bug(rest.strip()))
        elif bugs and sign == "@":
            bugs[-1].edits.append(Edit(rest.strip()))
        elif bugs and sign:
            edit = bugs[-1].edits[-1]
            if sign != "+":
                edit.old += f"{rest}\n"
            if sign != "-":
                edit.new += f"{rest}\n"
    return bugs


def plant(bug: Bug, package: Path) -> None:
    """Plant a bug.

    Args:
        bug: the bug.
        package: a copy of the package.

    Raises:
        ValueError: a file does not contain the lines of an edit exactly once.
    """
    for edit in bug.edits:
        file = package / edit.file
        text = file.read_text()
        if text.count(edit.old) != 1:
            raise ValueError(
                f"{bug.name!r}: {edit.file} has its lines {text.count(edit.old)} times"
            )
        file.write_text(text.replace(edit.old, edit.new))
