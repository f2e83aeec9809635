"""Formats what `top` shows as lines of text. Without effects.

All characters of the lines are ASCII, except those of names and errors.
"""

from __future__ import annotations

import dataclasses
import re
import time
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agy_actors.telemetry.top.rows import Row, Summary
    from agy_actors.telemetry.top.snapshot import LoggedEvent

__all__ = [
    "HELP",
    "KEYS",
    "Line",
    "cut",
    "event_line",
    "head_line",
    "row_line",
    "shown_in",
    "summary_line",
    "top_of",
]

KEYS = "c cancel  r restart  s shut down  space fold  ? help  q quit"

HELP = (
    "Up, Down, PgUp, PgDn, Home, End   select a row (also k and j)",
    "Left, Right, Space                hide or show what is below it",
    "c   cancel the turn of the selected agent",
    "r   restart what is selected, at once and alone",
    "s   shut down what is selected, with all below it; asks first",
    "q   leave; nothing that is shown ends",
    "",
    "queue: messages that wait. restarts: since the start. tok/min: tokens",
    "per minute, over the last 15 seconds. A supervisor, a pool and sessions",
    "show the sums of all below.",
    "",
    "Any key closes this help.",
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
"""Characters that could control the terminal."""

_WIDE, _MEDIUM, _NARROW = 72, 50, 36
"""Columns from which a row shows everything, also its turn and its queue, or also its age. The
names get at least 15 columns each time."""

_STYLES = {
    "busy": "yellow",
    "waiting": "yellow",
    "starting": "cyan",
    "restarting": "red",
    "crashed": "red",
    "ending": "magenta",
    "asleep": "blue",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A line of text in one style."""

    text: str
    style: str = ""
    """A style of rich; empty for the terminal's own."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    value: Callable[[Row], str]
    from_width: int
    """The width of the screen from which the column is shown."""
    is_number: bool = True


def _state(row: Row) -> str:
    return f"no answer {row.node.silent:.0f}s" if row.is_silent else row.node.state


def _turn(row: Row) -> str:
    node = row.node
    if not node.turn:
        return ""
    return f"{node.turn}/{node.attempt}" if node.attempt > 1 else str(node.turn)


def _age(row: Row) -> str:
    return _seconds(row.node.turn_seconds) if row.node.turn else ""


def _rate(row: Row) -> str:
    return "" if row.tokens_per_minute is None else _short(row.tokens_per_minute)


_COLUMNS = (
    _Column("state", 13, _state, _NARROW, is_number=False),
    _Column("turn", 6, _turn, _MEDIUM),
    _Column("age", 6, _age, _NARROW),
    _Column("queue", 6, lambda row: str(row.queue or ""), _MEDIUM),
    _Column("restarts", 8, lambda row: str(row.restarts or ""), _WIDE),
    _Column("tok/min", 7, _rate, _WIDE),
)


_STATE_ONLY = _Column("state", 10, _state, 0, is_number=False)
"""The only column of a screen that is too narrow for others: as wide as "restarting"."""


def _columns(width: int) -> tuple[list[_Column], int]:
    """Return the columns after the name, and the width of the name."""
    shown = [column for column in _COLUMNS if width >= column.from_width] or [_STATE_ONLY]
    return shown, max(4, width - sum(column.width + 1 for column in shown))


def head_line(width: int) -> Line:
    """Return the line with the titles of the columns."""
    shown, name = _columns(width)
    cells = [cut("  name", name)]
    cells += [_cell(column, column.title) for column in shown]
    return Line(cut(" ".join(cells), width), "bold")


def row_line(row: Row, *, selected: bool, width: int) -> Line:
    """Return the line of a row. The selected one begins with ">"."""
    shown, name_width = _columns(width)
    fold = "-" if row.expanded else "+" if row.has_children else " "
    indent = ("  " if width >= _MEDIUM else " ") * min(row.depth, name_width // 4)
    name = f"{'>' if selected else ' '}{indent}{fold} {row.node.name}"
    cells = [cut(name, name_width), *(_cell(column, column.value(row)) for column in shown)]
    style = "bold red" if row.is_silent else _STYLES.get(row.node.state, "")
    if selected:
        style = f"{style} reverse".strip()
    return Line(cut(" ".join(cells), width), style)


def event_line(event: LoggedEvent, width: int) -> Line:
    """Return the line of an event, with the local time."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    return Line(cut(f" {clock} {event.who}: {event.text}", width), "red" if event.is_bad else "")


def summary_line(name: str, summary: Summary, width: int) -> Line:
    """Return the first line: the sums."""
    rate = summary.tokens_per_minute
    parts = [
        f" {name}: {summary.agents} agent{'s' * (summary.agents != 1)}",
        f"{summary.busy} busy",
        *([f"{summary.restarting} restarting"] if summary.restarting else []),
        f"{summary.queue} queued",
        *([] if rate is None else [f"{_short(rate)} tok/min"]),
    ]
    return Line(cut(", ".join(parts), width), "bold reverse")


def top_of(selected: int, top: int, rows: int, height: int) -> int:
    """Return the index of the first row on the screen, such that the selected one is on it.

    Args:
        selected: the index of the selected row.
        top: the index of the first row before.
        rows: how many rows there are.
        height: how many fit on the screen.
    """
    top = min(max(top, selected - height + 1), selected)
    return max(0, min(top, rows - height))


def shown_in(text: str, encoding: str) -> str:
    """Return a text with "?" for each character that an encoding has not."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.encode("ascii", "replace").decode("ascii")
    return text


def cut(text: str, width: int) -> str:
    """Return one line of exactly this width, without control characters."""
    return set_cell_size(_CONTROL.sub(" ", text), width)


def _cell(column: _Column, text: str) -> str:
    if cell_len(text) > column.width:
        text = cut(text, column.width)
    return text.rjust(column.width) if column.is_number else text.ljust(column.width)


def _seconds(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 (a minute)
        return f"{seconds:.1f}s"
    minutes = int(seconds // 60)
    if minutes < 100:  # noqa: PLR2004 (what fits)
        return f"{minutes}m{int(seconds % 60):02}s"
    return f"{minutes // 60}h"


def _short(number: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:.1f}{unit}"
    return f"{number:.0f}"


def lines_of(texts: Sequence[str], width: int) -> list[Line]:
    """Return texts as lines."""
    return [Line(cut(text, width)) for text in texts]
