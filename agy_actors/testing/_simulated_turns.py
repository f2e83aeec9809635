"""What a `SimulatedAgent` does in a turn: small immutable values."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

__all__ = ["Ending", "SimulatedTurn", "crash", "error", "hang", "quota", "reply"]


class Ending(enum.Enum):
    """How a turn ends."""

    WELL = "well"
    """With the answer."""

    ERROR = "error"
    """The model's service answers with an error, which the SDK's conversation does not survive."""

    CRASH = "crash"
    """The process dies."""

    HANG = "hang"
    """Not at all: nothing comes any more until it is cancelled."""

    STUCK = "stuck"
    """Not at all, and not by a cancellation either: the process has to be killed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTurn:
    """A turn: some text, some tool calls, and an end."""

    text: str | None = None
    """What the agent answers, in one piece for each line; `None` repeats the prompt."""

    after: float = 0.0
    """Seconds before the first piece, and before the end of a turn that goes wrong."""

    apart: float = 0.0
    """Seconds between two pieces."""

    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    """The tools that are called before the answer, with their arguments."""

    ending: Ending = Ending.WELL
    status: int = 500
    """The HTTP status of an `Ending.ERROR`."""

    retry_after: float | None = None
    """The seconds after which the service says to come back, if it does."""

    def calling(self, name: str, **args: Any) -> SimulatedTurn:
        """Return the turn with a tool call before its answer.

        Args:
            name: of one of the agent's `tools`, which is called; another costs no time.
            args: what it is called with.
        """
        return dataclasses.replace(self, tools=(*self.tools, (name, args)))


def reply(text: str | None = None, *, after: float = 0.0, apart: float = 0.0) -> SimulatedTurn:
    """Answer with a text, or with the prompt."""
    return SimulatedTurn(text=text, after=after, apart=apart)


def error(status: int = 500, *, after: float = 0.0, text: str = "") -> SimulatedTurn:
    """Fail with an HTTP status of the model's service, after some text."""
    return SimulatedTurn(text=text, after=after, ending=Ending.ERROR, status=status)


def quota(retry_after: float | None = None, *, after: float = 0.0) -> SimulatedTurn:
    """Fail with a 429, and say when to come back."""
    return SimulatedTurn(
        text="", after=after, ending=Ending.ERROR, status=429, retry_after=retry_after
    )


def crash(*, after: float = 0.0, text: str = "") -> SimulatedTurn:
    """Have the process die, after some text."""
    return SimulatedTurn(text=text, after=after, ending=Ending.CRASH)


def hang(*, stuck: bool = False, text: str = "") -> SimulatedTurn:
    """Fall silent, after some text; if `stuck`, also a cancellation is not heard."""
    return SimulatedTurn(text=text, ending=Ending.STUCK if stuck else Ending.HANG)
