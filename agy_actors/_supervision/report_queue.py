"""The reports of other threads to a supervisor."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from agy_actors._supervision.counts import What
from agy_actors._supervision.events import DeadLetter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agy_actors._supervision.event_hub import EventHub

__all__ = ["Exited", "Ordered", "Ready", "Report", "ReportQueue", "Reporter"]


class Ready(NamedTuple):
    """An incarnation is ready."""

    name: str
    """The child's name."""
    actor: Any


class Exited(NamedTuple):
    """An incarnation has exited."""

    name: str
    """The child's name."""
    actor: Any


class Ordered(NamedTuple):
    """A function to call on the supervisor's thread."""

    call: Callable[[], object]


Report = Ready | Exited | Ordered


class ReportQueue:
    """Reports from other threads, in the order in which they came.

    Guarantee: no report is lost. They are not messages, which a stop would drop with the rest of
    the mailbox. `take_all`, which is called before each message, takes them before any later
    message.

    Args:
        handle: called with each report on the supervisor's thread. It may raise; the following
            reports are handled nevertheless.
    """

    def __init__(self, handle: Callable[[Report], None]) -> None:
        self._handle = handle
        self._reports: deque[Report] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<ReportQueue {list(self._reports)}>"

    def put(self, report: Report) -> None:
        """Add a report. Thread-safe."""
        self._reports.append(report)
        if self._loop is not None:  # Otherwise `start` takes it.
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self.take_all)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Handle the reports on this loop from now on, beginning with the earlier ones."""
        self._loop = loop
        self.take_all()

    def take_all(self) -> None:
        """Handle all reports. For the supervisor's thread."""
        try:
            while self._reports:
                self._handle(self._reports.popleft())
        finally:
            if self._reports and self._loop is not None:
                self._loop.call_soon(self.take_all)


class Reporter:
    """Reports the events of a child's incarnations, from their threads: an `Owner`.

    Args:
        reports: the supervisor's.
        name: the child's name.
        supervisor: the supervisor's name.
        hub: where the supervisor's events go.
    """

    def __init__(self, reports: ReportQueue, name: str, supervisor: str, hub: EventHub) -> None:
        self._reports = reports
        self._name = name
        self._supervisor = supervisor
        self._hub = hub

    def ready(self, actor: Any) -> None:
        """Report that an incarnation is ready. Thread-safe."""
        self._reports.put(Ready(self._name, actor))

    def gone(self, actor: Any) -> None:
        """Report that an incarnation has exited. Thread-safe."""
        self._reports.put(Exited(self._name, actor))

    def dead_letter(self, actor: Any, message: Any) -> None:  # noqa: ARG002 (as any `Owner`)
        """Count and publish that a message will not be handled. Thread-safe."""
        self._hub.counts.add(What.DEAD_LETTERS)
        if self._hub.active:
            kind = type(message).__name__
            self._hub.publish(
                DeadLetter(supervisor=self._supervisor, agent=self._name, message=kind)
            )
