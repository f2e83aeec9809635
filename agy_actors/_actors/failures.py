"""`Failures`: reactions to errors of an actor's code that have no asker."""

# ruff: noqa: SLF001 (an actor and its failures are one concept in two classes)

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from agy_actors._actors.incarnation import Outcome
from agy_actors._actors.unsupervised import print_unseen_error

if TYPE_CHECKING:
    from types import TracebackType

    from agy_actors._actors.incarnation import Owner
    from agy_actors._actors.mailbox import Mailbox

__all__ = ["FAILURES", "Failures"]

_logger = logging.getLogger("pykka")  # The name that users of pykka configure.

FAILURES = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""The exceptions of an actor's code: all except GeneratorExit, which ends the coroutine itself."""


class FailingActor(Protocol):
    """The part of an actor that is used here."""

    actor_inbox: Mailbox
    _cause: BaseException | None
    _failed_with: Exception | None
    _life: Any
    _outcome: Outcome
    _owner: Owner | None

    @property
    def _is_supervised(self) -> bool: ...
    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
    def _retire(self) -> None: ...


class Failures:
    """Handles the failures of one incarnation of an actor.

    An actor with an owner crashes: this incarnation ends, and the owner starts the next one. Any
    other actor ends for good, as in pykka. A failure after its end is only logged.
    """

    def __init__(self, actor: Any) -> None:
        self._actor: FailingActor = actor

    def fail(self, error: BaseException) -> None:
        """End the actor or its incarnation: a message that was told raised."""
        actor = self._actor
        if actor._owner is not None:
            self._crash(Outcome.CRASHED, error)
        elif isinstance(error, Exception):
            actor._cause = error
            actor._handle_failure(type(error), error, error.__traceback__)
            self._call_on_failure(error)
            actor._life.end()
        else:
            self._stop_because_of(error)

    def fail_to_start(self, error: BaseException) -> None:
        """End the actor or its incarnation: its `on_start` raised."""
        actor = self._actor
        if actor._owner is not None:
            self._crash(Outcome.FAILED, error)
        else:
            actor._cause = error
            actor._handle_failure(type(error), error, error.__traceback__)

    def log(self, error: BaseException) -> None:
        """Log an error that has no asker."""
        exc_info = (type(error), error, error.__traceback__)
        _logger.error("Unhandled exception in %s:", self._actor, exc_info=exc_info)  # pykka's words
        self.print_unseen(error)

    def print_unseen(self, error: BaseException) -> None:
        """Print an error of an actor without a supervisor, if no logging shows it."""
        if not self._actor._is_supervised:
            print_unseen_error(_logger.name, f"Unhandled exception in {self._actor}:", error)

    def _crash(self, outcome: Outcome, error: BaseException) -> None:
        """End this incarnation, and leave ref and mailbox to the next one."""
        self.log(error)
        actor = self._actor
        if actor._life.has_ended:
            return
        if outcome is Outcome.CRASHED:
            self._call_on_failure(error)
        if not isinstance(error, Exception):
            error = RuntimeError(f"{type(error).__name__}: {error}")  # `SystemExit` ends nothing.
        actor._outcome, actor._failed_with = outcome, error
        if actor.actor_inbox.closed:
            actor._cause = error
        actor._retire()

    def _stop_because_of(self, error: BaseException) -> None:
        """Stop now, as pykka's actors do when a told message raises a BaseException."""
        actor = self._actor
        actor._cause = error
        if actor._life.stop_now():
            # pykka's text, which people grep for. Here only this actor stops.
            _logger.debug("%r in %s. Stopping all actors.", error, actor)
            if not isinstance(error, SystemExit):  # Python's threads print nothing for it either.
                self.print_unseen(error)

    def _call_on_failure(self, error: BaseException) -> None:
        try:
            self._actor.on_failure(type(error), error, error.__traceback__)
        except FAILURES as failure:
            self.log(failure)
