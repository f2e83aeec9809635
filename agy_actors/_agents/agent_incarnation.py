"""`AgentIncarnation`: the state that the parts of one incarnation of an agent share."""

from __future__ import annotations

import copy
import logging
import threading
from typing import TYPE_CHECKING, Any

from loguru import logger

from agy_actors._agents.agent_statistics import AgentState
from agy_actors._agents.budgets import NO_BUDGETS
from agy_actors._agents.tally import Tally
from agy_actors._sdk.error_text import redact
from agy_actors._supervision.counts import What
from agy_actors._supervision.events import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable

    from loguru import Record

    from agy_actors._agents.record import AgentRecord, AgentSpec
    from agy_actors._supervision.events import AgentEvent

__all__ = ["AgentIncarnation", "next_state"]

_logger = logging.getLogger("pykka")  # The name that users of pykka configure.

_ENDING = (AgentState.CRASHED, AgentState.CLOSING, AgentState.ENDED)
"""The states of an incarnation that takes no more turns, in the order in which they may follow."""


def next_state(state: AgentState, wanted: AgentState) -> AgentState:
    """Return the state after a requested change: an incarnation that ends does not recover."""
    if state in _ENDING and (wanted not in _ENDING or _ENDING.index(wanted) < _ENDING.index(state)):
        return state
    return wanted


class AgentIncarnation:
    """The facts, the record and the state of one incarnation.

    All methods are for the agent's loop, unless stated otherwise. The supervisor's thread
    sets the state to `ENDED` when it abandons an incarnation whose loop hangs. The lock prevents
    the loop's thread from overwriting that; it guards only this change.

    Args:
        spec: the facts from which the agent was created.
        record: the data that outlives the incarnation.
        clock: returns the seconds of a clock that never goes back. Callable from any thread.
    """

    def __init__(self, spec: AgentSpec, record: AgentRecord, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.record = record
        self.clock = clock
        named = logger.bind(agent=spec.name, supervisor=spec.supervisor)
        self.log = named.patch(self._add_ids_of_turn)
        self.state = AgentState.STARTING
        """What the agent does. Only `move` changes it; any thread may read it."""
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"agent {self.spec.name!r}"

    def __repr__(self) -> str:
        return f"<AgentIncarnation {self.spec.name!r} {self.state}>"

    @property
    def is_ending(self) -> bool:
        """Whether it crashed, closes or has ended. Callable from any thread."""
        return self.state in _ENDING

    def move(self, state: AgentState) -> bool:
        """Change the state, if `next_state` allows it. Callable from any thread.

        Returns:
            Whether the state changed.
        """
        with self._lock:
            before, self.state = self.state, next_state(self.state, state)
            return self.state is not before

    def redact(self, text: str) -> str:
        """Return the text without the agent's secrets. Callable from any thread."""
        return redact(text, self.spec.secrets)

    def publish(self, kind: type[AgentEvent], **facts: Any) -> bool:
        """Publish an event if there is a subscriber. Callable from any thread.

        An incarnation that has ended, or was abandoned, publishes nothing.

        Returns:
            Whether the event was published.
        """
        return self.state is not AgentState.ENDED and self._publish(kind, **facts)

    def _publish(self, kind: type[AgentEvent], **facts: Any) -> bool:
        spec = self.spec
        if not spec.hub.active:
            return False
        spec.hub.publish(kind(supervisor=spec.supervisor, agent=spec.name, **facts))
        return True

    def note_dead_letter(self, message: object) -> None:
        """Count a dead letter and publish it as an event, also after the end.

        Callable from any thread.
        """
        self.record.dead_letters += 1
        self.spec.hub.counts.add(What.DEAD_LETTERS)
        self._publish(DeadLetter, message=type(message).__name__)

    def drop(self, message: object, error: BaseException) -> None:
        """Make a dead letter of a message that was told and could not be handled."""
        words = self.redact(f"{type(error).__name__}: {error}")
        kind = type(message).__name__
        self.log.warning("A {} that was told to the agent is dropped: {}", kind, words)
        self.note_dead_letter(message)

    def log_mistake(self, error: BaseException) -> Exception:
        """Log an exception of the agent's own code, and return the error of the crash.

        That is the same error, unless it contains a secret or is not an `Exception`: a `SystemExit`
        must not end any thread.
        """
        said = f"{type(error).__name__}: {error}"
        words = self.redact(said)
        exc_info = (type(error), error, error.__traceback__) if words == said else None
        _logger.error("Unhandled exception in %s: %s", self, words, exc_info=exc_info)
        if words == said and isinstance(error, Exception):
            return error
        return RuntimeError(words)

    def _add_ids_of_turn(self, record: Record) -> None:
        """Add the fields that identify the running turn to a record of the log."""
        pending = self.record.pending
        if pending is not None and pending.observed is not None:
            record["extra"].update(pending.observed.log_fields)

    def detach_record(self) -> None:
        """Leave the record to the next incarnation; later changes of this one are not recorded.

        Callable from any thread.
        """
        record = copy.copy(self.record)
        record.tally = Tally()
        record.budgets = NO_BUDGETS
        self.record = record
