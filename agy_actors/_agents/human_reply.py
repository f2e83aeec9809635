"""`HumanReply`: the answer of a person, who may answer too late or twice."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, TypeVar

from loguru import logger

from agy_actors._actors.future import ReplyFuture

if TYPE_CHECKING:
    from agy_actors._actors.future import OptExcInfo

__all__ = ["HumanReply"]

T = TypeVar("T")


class HumanReply(ReplyFuture[T]):
    """Takes the answer to a `ConfirmationAsked` or a `QuestionAsked`. Thread-safe.

    The first answer counts. A later one, or one that comes after the turn's end or after the
    timeout, changes nothing and raises nothing.
    """

    def set(self, value: T | None = None) -> bool:  # type: ignore[override] # pykka's: `None`
        """Set the answer and return whether it counts.

        Raises:
            ForkedProcessError: this process is a forked child of the agent's.
        """
        try:
            super().set(value)
        except queue.Full:
            return self._note_late()
        return True

    def set_exception(self, exc_info: OptExcInfo | None = None) -> bool:  # type: ignore[override] # as `set`
        """Set an error as the answer and return whether it counts.

        Args:
            exc_info: the exception, as from `sys.exc_info()`; by default the one that is being
                handled.

        Raises:
            ValueError: no exception was given, and no exception is being handled.
            ForkedProcessError: this process is a forked child of the agent's.
        """
        try:
            super().set_exception(exc_info)
        except queue.Full:
            return self._note_late()
        return True

    def _note_late(self) -> bool:
        logger.info("A person's answer came too late and is ignored")
        return False
