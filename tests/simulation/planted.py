"""Reads `planted_bugs.diff`, and plants what it has in a copy of the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

__all__ = ["Bug", "Edit", "plant", "read_bugs"]

_BUGS = Path(__file__).with_name("planted_bugs.diff")


@dataclasses.dataclass
class Edit:
    """Replaces lines that stand once in a file of the package."""

    file: str
    old: str = ""
    new: str = ""


@dataclasses.dataclass
class Bug:
    """A mistake, and where it is made."""

    name: str
    edits: list[Edit] = dataclasses.field(default_factory=list)


def read_bugs() -> list[Bug]:
    """Return all of them."""
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
    """Make the mistake.

    Args:
        bug: the mistake.
        package: a copy of the package.

    Raises:
        ValueError: the lines that it is in do not stand there, once.
    """
    for edit in bug.edits:
        file = package / edit.file
        text = file.read_text()
        if text.count(edit.old) != 1:
            raise ValueError(
                f"{bug.name!r}: {edit.file} has its lines {text.count(edit.old)} times"
            )
        file.write_text(text.replace(edit.old, edit.new))
