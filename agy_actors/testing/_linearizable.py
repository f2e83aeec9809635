"""Whether a history of concurrent calls can be put in one order that a simple model explains.

The search is Wing and Gong's (1993), with Lowe's memory (2017) of what was tried: two orders
of the same calls that lead to the same state need not both be gone on with.
"""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["History", "Operation", "assert_linearizable"]

S = TypeVar("S", bound="Hashable")

_MISSING = object()


@dataclasses.dataclass(eq=False)
class Operation:
    """A call, from when it was made to when it was answered, if it was."""

    client: str
    call: Any
    invoked: int
    """Its place among all calls and answers of the history."""
    answered: int | None = None
    reply: Any = _MISSING

    def __str__(self) -> str:
        reply = "no answer" if self.answered is None else repr(self.reply)
        return f"{self.client}: {self.call!r} -> {reply}"


class History:
    """Records who called what, and what was answered, in the order of their coming."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._order = count()

    def __str__(self) -> str:
        return "\n".join(f"  {operation}" for operation in self.operations)

    def invoke(self, client: str, call: Any) -> Operation:
        """Note a call, just before it is made."""
        operation = Operation(client, call, next(self._order))
        self.operations.append(operation)
        return operation

    def answer(self, operation: Operation, reply: Any) -> None:
        """Note its answer, just after it came. A call that failed for sure had none."""
        operation.answered = next(self._order)
        operation.reply = reply

    def withdraw(self, operation: Operation) -> None:
        """Forget a call that surely has had no effect: it was refused."""
        self.operations.remove(operation)


def assert_linearizable(
    history: History,
    model: Callable[[S, Any], tuple[S, Any]],
    initial: S,
    *,
    most: int = 100_000,
) -> Sequence[Operation]:
    """Check that each call seems to have happened at one moment between call and answer.

    Args:
        history: of the calls. One that was never answered may have happened or not.
        model: what one call does alone: from the state and the call to the next state and
            the reply. States are hashable, and never changed.
        initial: the state at the beginning.
        most: how many orders are tried before it gives up.

    Returns:
        The calls in such an order.

    Raises:
        AssertionError: there is no such order. The message has the history.
        RuntimeError: none was found among so many.
    """
    search = _Search(history.operations, model, most)
    order = search.run(initial)
    if order is None:
        done, state = search.furthest
        raise AssertionError(
            "the history is not linearizable: no order of these calls explains their replies"
            f"\n{history}\nthe most that one explains is, up to the state {state!r}:\n"
            + "\n".join(f"  {operation}" for operation in done)
        )
    return order


class _Search:
    def __init__(
        self,
        operations: list[Operation],
        model: Callable[[Any, Any], tuple[Any, Any]],
        most: int,
    ) -> None:
        self._operations = operations
        self._model = model
        self._left = most
        self._seen: set[tuple[frozenset[int], Any]] = set()
        self.furthest: tuple[list[Operation], Any] = ([], None)

    def run(self, initial: Any) -> list[Operation] | None:
        self.furthest = ([], initial)
        stack: list[tuple[frozenset[int], Any, list[Operation]]] = [(frozenset(), initial, [])]
        must = {i for i, op in enumerate(self._operations) if op.answered is not None}
        while stack:
            done, state, order = stack.pop()
            if must <= done:
                return order
            if len(order) > len(self.furthest[0]):
                self.furthest = (order, state)
            for index in reversed(self._next(done)):
                operation = self._operations[index]
                after, reply = self._model(state, operation.call)
                if operation.answered is not None and reply != operation.reply:
                    continue
                place = (done | {index}, after)
                if place in self._seen:
                    continue
                self._seen.add(place)
                self._left -= 1
                if self._left < 0:
                    raise RuntimeError("too many orders to try: take a shorter history")
                stack.append((place[0], after, [*order, operation]))
        return None

    def _next(self, done: frozenset[int]) -> list[int]:
        """Return the calls that may be next: made before the first answer that is left."""
        left = [i for i in range(len(self._operations)) if i not in done]
        answers = [a for i in left if (a := self._operations[i].answered) is not None]
        first = min(answers, default=float("inf"))
        return [i for i in left if self._operations[i].invoked < first]
