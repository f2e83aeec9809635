"""Prepares standard streams that are closed or that cannot encode every character.

If a standard stream is closed when the program starts, Python sets it to `None`, and the next
opened file gets its descriptor. A child process that writes to standard output would then write
into that file.
"""

from __future__ import annotations

import io
import os
import sys

from agy_actors.cli.usage_problem import UsageProblem

__all__ = ["need_input", "need_output", "prepare_streams", "silence_output"]


def prepare_streams() -> None:
    """Reserve the descriptors of closed streams, and print unencodable characters as `?`.

    Call it once, when the program starts and before it opens any file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest free descriptor: this one.
            os.set_inheritable(descriptor, True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def need_input() -> None:
    """Check that standard input is open.

    Raises:
        UsageProblem: it is closed.
    """
    if sys.stdin is None:
        raise UsageProblem("standard input is closed, but prompts are read from it; open it")


def need_output(advice: str = "open it") -> None:
    """Check that standard output is open.

    Args:
        advice: what the user can do; the end of the error message.

    Raises:
        UsageProblem: it is closed.
    """
    if sys.stdout is None:
        raise UsageProblem(f"standard output is closed, but answers are written to it; {advice}")


def silence_output() -> None:
    """Discard further standard output, including what the interpreter flushes at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
