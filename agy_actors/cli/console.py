"""Prints text from models and users so that it cannot control the terminal."""

from __future__ import annotations

import re

from rich.console import Console

__all__ = ["console", "harmless", "one_line"]

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


def harmless(text: str) -> str:
    """Replace control characters, which could control the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Format a text as one line without control characters."""
    return harmless(" ".join(text.split()))
