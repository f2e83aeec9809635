"""Wraps streamed text at words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WordWrap"]

_TAB = 8  # Columns between tab stops; the default of terminals.
_UNIT = re.compile(r"\n|[ \t]+|[^ \t\n]+")


class WordWrap:
    """Wraps a text at words: returns the text with some spaces replaced by line breaks.

    A word is held back until its end is known, and spaces are held back if the line has no room
    for them. The terminal breaks a word that is longer than a line, so that a URL can be copied.
    Characters that take two columns are separate words, because their scripts have no spaces.

    Args:
        width: returns the number of columns.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        self._spaces = ""
        self._word = ""
        self._begun = False
        """Whether the start of the current word has been returned."""
        self.column = 0
        """The number of columns that are used in the current line."""

    def feed(self, text: str) -> str:
        """Add text, and return what to write now."""
        return "".join(self._feed(text))

    def flush(self) -> str:
        """Return the held-back part of the current word."""
        word, self._word = self._word, ""
        written = self._place(word) if word else ""
        self._begun = self._begun or bool(word)
        return written

    def end_line(self) -> None:
        """Record that a new line has started."""
        self.column, self._spaces, self._word, self._begun = 0, "", "", False

    def _feed(self, text: str) -> Iterator[str]:
        for unit in _UNIT.findall(text):
            if unit == "\n":
                yield self.flush() + "\n"
                self.end_line()
            elif unit[0] in " \t":
                yield self.flush()
                self._begun = False
                yield from map(self._space, unit)
            else:
                yield from self._take(unit)

    def _take(self, letters: str) -> Iterator[str]:
        for letter in letters:
            if cell_len(letter) > 1:
                yield self.flush()
                self._begun = False
                yield self._place(letter)
            else:
                self._word += letter
        if cell_len(self._word) >= self._width():
            yield self.flush()

    def _place(self, word: str) -> str:
        spaces, self._spaces = self._spaces, ""
        begin, length = self._after(spaces), cell_len(word)
        if begin == 0 or self._begun or begin + length <= self._width():
            self.column = self._in_line(begin + length)
            return spaces + word
        new_line = "\n" if self.column > 0 else ""
        self.column = self._in_line(length)
        return new_line + word

    def _space(self, space: str) -> str:
        after = self._after(space)
        if self._spaces or after >= self._width():
            self._spaces += space
            return ""
        self.column = after
        return space

    def _after(self, spaces: str) -> int:
        column = self.column
        for space in spaces:
            column = (column // _TAB + 1) * _TAB if space == "\t" else column + 1
        return column

    def _in_line(self, columns: int) -> int:
        """Return the column after the terminal has wrapped a word longer than a line."""
        width = self._width()
        return columns if columns <= width else (columns - 1) % width + 1
