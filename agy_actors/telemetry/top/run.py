"""Runs the application of `top` at the terminal of this program."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agy_actors.telemetry.top.errors import TopUnusable
from agy_actors.telemetry.top.local_source import LocalSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors._supervisors.supervisor_ref import SupervisorRef
    from agy_actors.telemetry.top.source import Source

__all__ = ["check_terminal", "run_app", "top"]

_SIGNALS = ("SIGTSTP", "SIGCONT", "SIGWINCH", "SIGTTOU", "SIGTTIN")
"""The signals that textual handles while it runs."""


def top(supervisor: SupervisorRef) -> None:
    """Show a supervisor and all below it at this program's terminal, until the user leaves.

    Call it on the main thread: textual handles signals of the terminal, such as the one for a new
    size, which Python allows only there. The agents run on their own threads meanwhile. When it
    returns, the terminal and the signal handlers are as before, and nothing has ended that the user
    did not shut down.

    Args:
        supervisor: the supervisor.

    Raises:
        TopUnusable: textual is not installed (the extra `telemetry` installs it), this is not the
            main thread, or standard input or standard error is not a terminal.
        AgentDeadError: the supervisor has ended.
    """
    check_terminal()
    source = LocalSource(supervisor)
    try:
        run_app(source, supervisor.name)
    finally:
        source.close()


def check_terminal() -> None:
    """Check that the application can run.

    Raises:
        TopUnusable: it cannot.
    """
    try:
        importlib.import_module("textual")
    except ImportError as error:
        raise TopUnusable(
            "top needs textual, which is not installed; run: pip install 'agy-actors[telemetry]'"
        ) from error
    if threading.current_thread() is not threading.main_thread():
        raise TopUnusable("top must be called on the main thread, where signals are handled")
    # Textual reads standard input and writes to standard error.
    for stream, name in ((sys.__stdin__, "input"), (sys.__stderr__, "error")):
        if stream is None or stream.closed or not stream.isatty():
            raise TopUnusable(f"standard {name} is not a terminal; run top in a terminal")


def run_app(source: Source, name: str) -> None:
    """Run the application until the user leaves. `check_terminal` must have succeeded."""
    from agy_actors.telemetry.top.app import TopApp  # noqa: PLC0415 (textual takes 0.2 s)

    assert sys.__stderr__ is not None
    # A terminal without colours, such as a vt100, may show their escapes as text.
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM", "").startswith(("dumb", "vt"))
    app = TopApp(source, name, encoding=sys.__stderr__.encoding or "ascii", plain=plain)
    with _signals_restored():
        app.run(mouse=False)  # So that the terminal's own selection of text works.


@contextmanager
def _signals_restored() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # A handler that was not installed from Python.
                signal.signal(number, handler)
