"""Prints the streamed answers of ``chat``, and what it waits for.

On a terminal, answers are wrapped between words; in a pipe they are written unchanged.
On a terminal with cursor control, the last line shows what ``chat`` waits for and is removed when
text arrives. On other terminals such lines are printed and stay; in a pipe they go to standard
error.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.spinner import Spinner
from rich.text import Text

from agy_actors.cli.console import WithMargin, console, harmless
from agy_actors.cli.word_wrap import WordWrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

__all__ = ["AnswerScreen"]

_REFRESH = 8  # Redraws a second: the spinner's rate is about the same.


class AnswerScreen:
    """Prints the output of ``chat``. Thread-safe.

    Args:
        describe: returns what ``chat`` waits for.
        interactive: whether a user types prompts and reads answers at a terminal.
    """

    def __init__(self, describe: Callable[[], str], *, interactive: bool) -> None:
        self.out = console()
        self.err = console(stderr=True)
        self.interactive = interactive
        self._describe = describe
        self._lock = threading.RLock()
        self._wrap = WordWrap(lambda: self.out.width)
        self._left_at = 0
        """The column where the answer continues, in the line above the wait line; 0 for none."""
        spins = interactive and self.out.is_interactive
        ascii_only = self.out.options.ascii_only
        self._spinner = Spinner("line" if ascii_only else "dots") if spins else None
        self._live: Live | None = None

    def write(self, text: str) -> None:
        """Print a part of an answer."""
        with self._lock:
            self.hide()
            # Not with rich, which prints whole lines.
            self._print(self._wrap.feed(harmless(text)) if self.interactive else text)

    def end_answer(self, remark: Text) -> None:
        """End an answer on a terminal with a remark, on the same line."""
        with self._lock:
            self.hide()
            self._print(self._wrap.flush())
            # A terminal without cursor control still shows the ^C of the user.
            self._print(" " if self._wrap.column > 0 or self._spinner is None else "")
            self.out.print(remark)
            self._wrap.end_line()

    def show(self, text: Text, *, error: bool = False) -> None:
        """Print a line that is not part of an answer."""
        with self._lock:
            self.end_line()
            # In a pipe, standard output must contain nothing but answers.
            (self.err if error or not self.interactive else self.out).print(text)

    def end_line(self) -> None:
        """Start a new line, unless the current one is empty."""
        with self._lock:
            self.hide()
            self._print(self._wrap.flush())
            if self._wrap.column > 0:
                self.write("\n")

    def wait(self) -> None:
        """Show the wait line, if the terminal can remove it again."""
        with self._lock:
            if self._spinner is None or self._live is not None:
                return
            self._print(self._wrap.flush())
            if self._wrap.column > 0:
                self._left_at = self._wrap.column
                self._print("\n")
            self._live = Live(
                console=self.out,
                get_renderable=self._render,
                refresh_per_second=_REFRESH,
                transient=True,
            )
            self._live.start(refresh=True)

    def remind(self, line: str) -> None:
        """Show what ``chat`` waits for, after a silence."""
        with self._lock:
            if self._spinner is not None:
                self.wait()
            else:
                self.show(Text(line, "dim"))

    def hide(self) -> None:
        """Remove the wait line."""
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None
                self._go_back()

    def _go_back(self) -> None:
        """Move the cursor back to the end of the answer, if that is in the middle of a line."""
        column, self._left_at = self._left_at, 0
        if column >= self.out.width:
            self._wrap.end_line()
        elif column > 0:
            self.out.control(
                Control((ControlType.CURSOR_UP, 1), (ControlType.CURSOR_MOVE_TO_COLUMN, column))
            )

    def _print(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()  # An answer is streamed: each part must be visible at once.

    def _render(self) -> RenderableType:
        assert self._spinner is not None
        self._spinner.update(text=Text(self._describe(), "dim"))
        return WithMargin(self._spinner)
