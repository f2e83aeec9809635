"""The trace of a simulation: what each fiber did, and when.

Each step appends a tuple of references. They become text only when the trace is read. A
trace shows the user's code by its name, and steps of agy_actors and asyncio as internal work. It
shows a repetition once.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, TypeAlias

from agy_actors.testing.simulation.descriptions import describe, is_internal, name_of
from agy_actors.testing.simulation.repetitions import blocks, without_numbers

__all__ = ["NOT_DRAWN", "Event", "Trace"]

_KNOWN_STEPS = {
    "ClientFibers.start.begin": "begins",
    "AsyncioActor._live": "begins",
    "MessageHandler._handle_async": "continues to handle a message",
}
"""Steps of agy_actors that mean something to users."""


class Named(Protocol):
    """A fiber, as a trace sees it."""

    name: str


Event: TypeAlias = "tuple[float, Named | None, str, Any, Any, tuple[int, int]]"
"""The virtual time, the fiber, what it did, two objects that it did this with, and the choice of
the schedule with the number of options.

A plain tuple, because each step creates one."""

NOT_DRAWN = (0, 0)
"""The choice of an event that no schedule chose."""


class Trace:
    """The last events of a simulation.

    Args:
        limit: how many events to keep.
    """

    def __init__(self, limit: int) -> None:
        self.events: deque[Event] = deque(maxlen=limit)
        self.add = self.events.append

    def __str__(self) -> str:
        return self.show()

    def show(self, *, similar: bool = False) -> str:
        """Return the trace as text.

        Args:
            similar: whether lines that differ only in numbers count as repetitions, as is useful
                for a simulation that does not end.
        """
        lines = [_line(event) for event in self.events]
        keys = list(map(without_numbers, lines)) if similar else lines
        shown: list[str] = []
        for start, length, times in blocks(keys):
            end = start + length
            shown += map(self._with_time, range(start, end), lines[start:end])
            if times > 1:
                what = "this" if length == 1 else f"these {length} steps"
                until = self.events[start + length * times - 1][0]
                more = "similar, " if similar else ""
                shown.append(f"{'':12}... {more}{what} {times - 1} times more, until {until:.3f}")
        return "\n".join(shown)

    def _with_time(self, position: int, line: str) -> str:
        return f"{self.events[position][0]:10.3f}  {line}"


def _line(event: Event) -> str:
    _, fiber, what, subject, detail, (choice, ready) = event
    who = "" if fiber is None else fiber.name
    drawn = f"   <- {choice} of {ready}" if choice else ""
    return f"{who:<22} {_words(what, subject, detail)}{drawn}".rstrip()


def _words(what: str, subject: Any, detail: Any) -> str:
    if what == "step":
        return _step(subject) if detail is None else f"handles {describe(detail)}"
    if what == "put":
        return f"puts {describe(detail)} for {subject}"
    return what if detail is None else f"{what} {describe(detail)}"


def _step(callback: Any) -> str:
    name = name_of(callback)
    if not is_internal(callback):
        return f"runs {name}"
    return _KNOWN_STEPS.get(name, "does internal work")
