"""Composes the screen of `top` of its parts. Without effects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from agy_actors.telemetry.top.layout import (
    HELP,
    KEYS,
    Line,
    cut,
    event_line,
    head_line,
    lines_of,
    row_line,
    summary_line,
    top_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agy_actors.telemetry.top.rows import Row, Summary
    from agy_actors.telemetry.top.snapshot import LoggedEvent, Node

__all__ = ["Screen", "compose_screen"]

_LEAST_TREE = 5
"""Lines that the tree gets before the log gets any. Arbitrary."""

_LOG_SHARE = 2
"""The log gets one of this number of lines that both share. Arbitrary."""

_FIXED = 3
"""The lines of the summary, of the titles and of the keys."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a screen shows."""

    name: str
    summary: Summary | None
    """`None` before the first snapshot."""

    ended: bool
    """Whether the supervisor has ended."""

    rows: Sequence[Row]
    selected: int
    """The index of the selected row."""

    top: int
    """The index of the first row that was on the last screen."""

    events: Sequence[LoggedEvent]
    problem: str
    """Why there is no new snapshot; empty if there is one."""

    notice: str
    asks: Node | None
    """The node that is to be shut down if the user confirms it."""

    helps: bool
    """Whether to show the help."""


def compose_screen(screen: Screen, width: int, height: int) -> tuple[list[Line], int]:
    """Return the lines of a screen, and the index of the first row on it."""
    if width < 1 or height < 1:
        return [], screen.top
    if screen.helps:
        return lines_of(HELP, width)[:height], screen.top
    body = max(0, height - _FIXED)
    log = max(0, body - _LEAST_TREE) // _LOG_SHARE
    tree = body - log
    top = top_of(screen.selected, screen.top, len(screen.rows), max(1, tree))
    lines = [_first_line(screen, width), head_line(width)]
    lines += [
        row_line(row, selected=index == screen.selected, width=width)
        for index, row in enumerate(screen.rows[top : top + tree], top)
    ]
    lines += [Line(" " * width)] * (tree + 2 - len(lines))
    if log:
        lines.append(Line(cut("-- events " + "-" * width, width), "bold"))
        lines += [event_line(event, width) for event in screen.events[-(log - 1) :] if log > 1]
        lines += [Line(" " * width)] * (height - 1 - len(lines))
    return [*lines[: height - 1], _last_line(screen, width)], top


def _first_line(screen: Screen, width: int) -> Line:
    if screen.summary is None:
        return Line(cut(f" {screen.name}: waiting for the first answer", width), "bold reverse")
    if screen.ended:
        return Line(cut(f" {screen.name}: the supervisor has ended", width), "bold reverse")
    return summary_line(screen.name, screen.summary, width)


def _last_line(screen: Screen, width: int) -> Line:
    if screen.asks is not None:
        node = screen.asks
        return Line(cut(f"Shut down {node.kind} {node.name!r}? y/n", width), "bold reverse")
    if screen.problem:
        return Line(cut(f"{screen.problem}; trying again", width), "bold red")
    if screen.notice:
        return Line(cut(screen.notice, width), "bold")
    return Line(cut(KEYS, width), "reverse")
