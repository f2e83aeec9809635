"""`Answers`: answers the messages that no handler answers."""

# ruff: noqa: SLF001 (an actor and its answers are one concept in two classes)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

from agy_actors._actors.envelope import is_stop
from agy_actors._actors.errors import ActorDeadError
from agy_actors._actors.future_owner import fail, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pykka._envelope import Envelope as AnyEnvelope

    from agy_actors._actors.mailbox import Mailbox
    from agy_actors._actors.message_handler import MessageHandler
    from agy_actors._actors.timers import Timers

__all__ = ["Answers", "actor_dead_error"]


class AnsweringActor(Protocol):
    """The part of its actor that `Answers` uses."""

    actor_inbox: Mailbox
    _cause: BaseException | None
    _life: Any
    _messages: MessageHandler
    _timers: Timers

    def dead_error(self) -> Exception: ...
    def on_dead_letter(self, message: Any) -> None: ...


class Answers:
    """Answers the messages that the end of an incarnation leaves unanswered.

    Guarantee: each rejected message gets one answer: the dead actor's error if it was asked, a dead
    letter if it was told, and a reply after the end if it is a request to stop.
    """

    def __init__(self, actor: AnsweringActor) -> None:
        self._actor = actor
        self.stop_requests: list[AnyEnvelope[Any]] = []
        """The requests to stop that are answered when the actor has ended."""

    def reject(self, envelopes: Iterable[AnyEnvelope[Any]]) -> None:
        """Answer messages that will not be handled. Callable from any thread."""
        for envelope in envelopes:
            if is_stop(envelope.message):
                self.stop_requests.append(envelope)
            elif envelope.reply_to is not None:
                fail(envelope.reply_to, self.make_dead_error())
            else:
                self._actor.on_dead_letter(envelope.message)

    def give_back_unfinished(self) -> None:
        """Return interrupted messages to the mailbox, or else answer them."""
        messages = self._actor._messages
        if not messages.in_flight:
            return
        for envelope in reversed(messages.take_unfinished()):
            self.give_back(envelope)

    def give_back(self, envelope: AnyEnvelope[Any]) -> None:
        """Return a message to the mailbox for the next incarnation, or else answer it."""
        actor = self._actor
        if actor._messages.is_claimed(envelope):
            return  # It was answered when this incarnation was abandoned.
        if actor._life.has_successor and actor._timers.has_sent(envelope):
            return  # It ends with this incarnation.
        if not (actor._life.has_successor and actor.actor_inbox.put_back(envelope)):
            self.reject([envelope])

    def answer_stop_requests(self) -> None:
        """Answer the requests to stop: the actor has ended."""
        requests, self.stop_requests = self.stop_requests, []
        for envelope in requests:
            resolve(envelope.reply_to, None)

    def make_dead_error(self) -> Exception:
        """Make the error for asks of an actor that has ended."""
        try:
            return self._actor.dead_error()
        except Exception:  # noqa: BLE001 (a subclass's mistake must not leave an ask unanswered)
            logger.exception("The dead_error of {} failed", self._actor)
            return actor_dead_error(self._actor)


def actor_dead_error(actor: AnsweringActor) -> ActorDeadError:
    """Make the error that `AsyncioActor.dead_error` makes by default."""
    error = ActorDeadError(f"{actor} not found")  # pykka's words
    error.__cause__ = actor._cause
    return error
