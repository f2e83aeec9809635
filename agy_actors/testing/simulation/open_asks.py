"""The asks and clients of a simulation that have no reply yet."""

from __future__ import annotations

from typing import Any

from agy_actors._actors.future import ReplyFuture
from agy_actors._actors.future_owner import about, set_about
from agy_actors.testing.simulation.descriptions import describe
from agy_actors.testing.simulation.errors import SimulationLeak
from agy_actors.testing.simulation.repetitions import group_similar

__all__ = ["OpenAsks"]

_PRUNE_AT = 64
"""Futures in the list before finished ones are removed for the first time. Arbitrary."""


class OpenAsks:
    """Records futures, to report those without an answer."""

    def __init__(self) -> None:
        self._futures: list[ReplyFuture[Any]] = []
        self._prune_at = _PRUNE_AT

    def __repr__(self) -> str:
        return f"<OpenAsks: {self._open()}>"

    def add(self, future: ReplyFuture[Any]) -> None:
        """Record a future."""
        self._futures.append(future)
        if len(self._futures) >= self._prune_at:
            self.prune()
            self._prune_at = max(_PRUNE_AT, 2 * len(self._futures))

    def add_ask(self, mailbox: object, message: object, reply_to: object) -> None:
        """Record that a mailbox accepted a message, and the future of its reply if it has one."""
        if isinstance(reply_to, ReplyFuture):
            self.add(reply_to)
            if about(reply_to) is None:
                set_about(reply_to, message, mailbox)

    def prune(self) -> None:
        """Drop the futures that have a result."""
        self._futures = self._open()

    def cancel(self) -> None:
        """Cancel all futures that have no result."""
        for future in self._futures:
            future.cancel()

    def leak(self) -> SimulationLeak | None:
        """Return the error that lists the futures without a result, if there are any."""
        left = self._open()
        if not left:
            return None
        asks = "".join(f"\n  {ask}" for ask in group_similar(list(map(describe, left))))
        return SimulationLeak(f"the scenario has ended, and no actor answered{asks}")

    def _open(self) -> list[ReplyFuture[Any]]:
        return [future for future in self._futures if not future.done()]
