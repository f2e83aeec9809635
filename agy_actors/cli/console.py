"""Prints text from models and users so that it cannot control the terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType, RenderResult

__all__ = ["WithMargin", "console", "harmless", "one_line"]

_MARGIN = 2
"""The columns of the ``^C`` that a terminal prints for Ctrl-C."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 and C1, except \t and \n.


def console(*, stderr: bool = False) -> Console:
    """Make a console that prints text literally: no markup, no emoji codes, no highlighting.

    On a terminal it wraps lines between words; elsewhere it does not wrap them.

    Args:
        stderr: whether to print to standard error.
    """
    out = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    out.soft_wrap = not out.is_terminal
    return out


@dataclass(frozen=True)
class WithMargin:
    """Keeps the last columns of a live display free.

    The cursor is at the end of a live display. If its last line were full, the terminal would
    print ``^C`` in a new line, and rich, which goes back by the height of the display to replace
    it, would replace one line too few.
    """

    display: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(
            self.display, options.update_width(max(1, options.max_width - _MARGIN))
        )


def harmless(text: str) -> str:
    """Replace control characters, which could control the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Format a text as one line without control characters."""
    return harmless(" ".join(text.split()))
