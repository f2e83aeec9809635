"""`Claims`: the askers that wait for a child that is being created. If all give up, it is ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agy_actors._actors.future import ReplyFuture

if TYPE_CHECKING:
    import pykka

__all__ = ["Claims"]


class Claims:
    """The replies that wait for one child. For the thread of its supervisor.

    Args:
        reply: the reply to the request that creates the child; `None` if the request was told.
            Then the child is kept in any case.
    """

    def __init__(self, reply: pykka.Future[Any] | None) -> None:
        self._replies: list[pykka.Future[Any]] | None = None if reply is None else [reply]
        """`None` once the child is kept in any case."""
        self.shared = False
        """Whether an asker other than its creator has asked for it."""

    def add(self, reply: pykka.Future[Any] | None) -> None:
        """Note that another request waits for it."""
        self.shared = True
        if reply is None:
            self._replies = None
        elif self._replies is not None:
            self._replies.append(reply)

    @property
    def abandoned(self) -> bool:
        """Whether all askers have given up before one got the ref."""
        return self._replies is not None and all(map(_is_cancelled, self._replies))

    def settle(self) -> None:
        """Keep the child in any case, if an asker has got the ref."""
        replies = self._replies or ()
        if any(isinstance(r, ReplyFuture) and r.done() and not r.cancelled() for r in replies):
            self._replies = None


def _is_cancelled(reply: pykka.Future[Any]) -> bool:
    return isinstance(reply, ReplyFuture) and reply.cancelled()
