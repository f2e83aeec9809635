"""Turns that no user sends as such: what a stream and a trigger put into the turn lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agy_actors._agent._replies import ChatReply
from agy_actors._kernel import Lane, Message

if TYPE_CHECKING:
    from agy_actors._agent import _messages as messages
    from agy_actors._agent._stream import Tape

__all__ = ["FollowTurn", "StreamChat"]


class StreamChat(Message[ChatReply]):
    """A `Chat` whose answer goes onto a `Tape` as it comes."""

    __slots__ = ("chat", "tape")

    lane = Lane.TURN

    def __init__(self, chat: messages.Chat, tape: Tape) -> None:
        self.chat = chat
        self.tape = tape


class FollowTurn(Message[None]):
    """Follow the turn that a trigger has begun."""

    __slots__ = ()

    lane = Lane.TURN
