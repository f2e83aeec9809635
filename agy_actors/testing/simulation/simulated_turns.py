"""The turns of a `SimulatedAgent`: small immutable values."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

__all__ = ["Ending", "SimulatedTurn", "crash", "error", "hang", "quota", "refusal", "reply"]


class Ending(enum.Enum):
    """How a turn ends."""

    WELL = "well"
    """The reply is complete."""

    ERROR = "error"
    """The model's service reports an error. As in the SDK, it ends the session."""

    CRASH = "crash"
    """The process dies."""

    HANG = "hang"
    """The turn never ends. A cancellation ends it."""

    STUCK = "stuck"
    """The turn never ends, and ignores a cancellation. Only killing the process ends it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedTurn:
    """A turn: some text, some tool calls, and an ending."""

    text: str | None = None
    """The reply, streamed line by line; `None` repeats the prompt."""

    after: float = 0.0
    """Seconds before the first line, and before a failure."""

    apart: float = 0.0
    """Seconds between two lines."""

    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    """The tools to call before the reply, with their arguments."""

    ending: Ending = Ending.WELL
    """How it ends."""

    status: int = 500
    """The HTTP status of an `Ending.ERROR`."""

    retry_after: float | None = None
    """Seconds after which the service asks for a retry; `None` if it does not say."""

    def calling(self, name: str, **args: Any) -> SimulatedTurn:
        """Return this turn with one more tool call before its reply.

        Args:
            name: the name of one of the agent's `tools`. Any other tool takes no time.
            args: the arguments.
        """
        return dataclasses.replace(self, tools=(*self.tools, (name, args)))


def reply(text: str | None = None, *, after: float = 0.0, apart: float = 0.0) -> SimulatedTurn:
    """Reply with a text.

    Args:
        text: the text, streamed line by line; `None` repeats the prompt.
        after: seconds before the first line.
        apart: seconds between two lines.
    """
    return SimulatedTurn(text=text, after=after, apart=apart)


def error(status: int = 500, *, after: float = 0.0, text: str = "") -> SimulatedTurn:
    """Fail with an HTTP status of the model's service.

    Args:
        status: the HTTP status.
        after: seconds before the text and the failure.
        text: the text before the failure.
    """
    return SimulatedTurn(text=text, after=after, ending=Ending.ERROR, status=status)


def quota(retry_after: float | None = None, *, after: float = 0.0) -> SimulatedTurn:
    """Fail with HTTP status 429.

    Args:
        retry_after: seconds after which the service asks for a retry; `None` if it does not say.
        after: seconds until the failure.
    """
    return SimulatedTurn(
        text="", after=after, ending=Ending.ERROR, status=429, retry_after=retry_after
    )


def crash(*, after: float = 0.0, text: str = "") -> SimulatedTurn:
    """Let the agent's process die.

    Args:
        after: seconds before the text and the death of the process.
        text: the text before the process dies.
    """
    return SimulatedTurn(text=text, after=after, ending=Ending.CRASH)


def hang(*, stuck: bool = False, text: str = "") -> SimulatedTurn:
    """Never end the turn.

    Args:
        stuck: whether the turn also ignores a cancellation.
        text: the text before the silence.
    """
    return SimulatedTurn(text=text, ending=Ending.STUCK if stuck else Ending.HANG)


def refusal(turn: SimulatedTurn) -> str:
    """Return the error text of a turn, in the SDK's words (see `_sdk.error_text`)."""
    later = "" if turn.retry_after is None else f", retry after {turn.retry_after:g}s"
    return f"HTTP request failed with status {turn.status}: simulated{later}"
