"""Internal messages of the turn lane: those of streams and triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._actors.message import Lane, Message
from agy_actors._agents.agent_messages import ChatReply, Send

if TYPE_CHECKING:
    from agy_actors._agents import agent_messages as messages
    from agy_actors._agents.stream_buffer import StreamBuffer

__all__ = ["FollowTurn", "StreamChat", "TriggerTurn", "unseen_end"]


class StreamChat(Message[ChatReply]):
    """A `Chat` whose answer is streamed to a `StreamBuffer`."""

    __slots__ = ("buffer", "chat")

    lane = Lane.TURN

    def __init__(self, chat: messages.Chat, buffer: StreamBuffer) -> None:
        self.chat = chat
        self.buffer = buffer


class TriggerTurn(Message[None]):
    """Send to the model the texts that triggers sent to the agent."""

    __slots__ = ("texts",)

    lane = Lane.TURN

    def __init__(self) -> None:
        self.texts: list[str] = []
        """The texts that the triggers sent, set when the turn is taken up."""


class FollowTurn(Message[None]):
    """Read a turn that the harness has begun by itself."""

    __slots__ = ()

    lane = Lane.TURN


def unseen_end(message: object) -> str:
    """Return the log line for the error of a turn that no asker waits for."""
    if isinstance(message, Send):
        return "A sent turn ended: {}"
    if isinstance(message, FollowTurn | TriggerTurn):
        return "A turn of a trigger ended: {}"
    return "A turn without a waiting asker ended: {}"
