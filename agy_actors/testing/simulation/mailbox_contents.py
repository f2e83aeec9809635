"""Reads the mailboxes of simulated actors, for traces and error messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.message_handler import MessageHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["handled_message", "waiting_messages"]

_DRAIN = MessageHandler.drain
"""The step that handles a message calls it."""


def handled_message(callback: Any) -> object:
    """Return the message that a step is about to handle, or `None` if it handles no message."""
    if getattr(callback, "__func__", None) is not _DRAIN:
        return None
    messages: MessageHandler = callback.__self__
    inbox = messages._actor.actor_inbox  # noqa: SLF001 (ours)
    if inbox.control:
        return inbox.control[0]
    if inbox._turns and messages.turn is None and messages.turns_open:  # noqa: SLF001 (as above)
        return inbox._turns[0]  # noqa: SLF001 (as above)
    return None


def waiting_messages(actor: object) -> Sequence[object]:
    """Return the messages in the mailbox of an actor; nothing for any other object."""
    inbox = getattr(actor, "actor_inbox", None)
    if inbox is None or not len(inbox):
        return ()
    return [*inbox.control, *inbox._turns]  # noqa: SLF001 (ours)
