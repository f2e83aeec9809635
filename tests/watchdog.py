"""Ends the process of a test that hangs, so that the run goes on.

pytest-timeout raises an exception once in the main thread, and has no timer for the rest of a test
that has failed. A finalizer that then waits for ever would stop the whole run. The timer of
`faulthandler` is a thread of C: it prints the stacks of all threads and ends the process, whatever
Python code does. pytest-xdist then reports the test as failed and starts another worker.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Watchdog"]


class Watchdog:
    """A plugin, to be registered by `pytest_configure`."""

    MORE_TIME = 30.0
    """Seconds after the timeout of a test until its process is ended: time for its finalizers,
    which may wait for several things. Arbitrary."""

    def __init__(self, config: pytest.Config) -> None:
        self._default = config.getoption("timeout", None) or config.getini("timeout") or 0
        assert sys.__stderr__ is not None
        # pytest captures standard error while tests run, and some tests replace it.
        self._stderr = os.dup(sys.__stderr__.fileno())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch a test and its fixtures."""
        self._start_timer(self._timeout(item))
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector) -> None:
        """Watch the finalizers of a test that has failed: pytest stops the timer then."""
        if isinstance(node, pytest.Item):
            self._start_timer(self._timeout(node))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self) -> Generator[None, object, object]:
        """Watch the finalizers that run at the end, as after an error in pytest itself."""
        self._start_timer(self._default)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _timeout(self, item: pytest.Item) -> str | float:
        marker = item.get_closest_marker("timeout")
        return marker.args[0] if marker else self._default

    def _start_timer(self, timeout: str | float) -> None:
        if float(timeout):
            seconds = float(timeout) + self.MORE_TIME
            faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
