"""Checks that a sequential model explains a history of concurrent calls.

The search is that of Wing and Gong (1993) with the cache of Lowe (2017): it visits each pair of a
set of calls and a state once.
"""

from __future__ import annotations

import dataclasses
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from agy_actors.testing.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

__all__ = ["History", "Operation", "assert_linearizable"]

S = TypeVar("S", bound="Hashable")

_MISSING = object()


@dataclasses.dataclass(eq=False)
class Operation:
    """A call and its answer, if it has one."""

    client: str
    """The name of the caller."""
    call: Any
    """The call, in a form that the model understands."""
    invoked: int
    """The position of the call among all calls and answers of the history."""
    answered: int | None = None
    """The position of the answer among all calls and answers; `None` without an answer."""
    reply: Any = _MISSING
    """The answer."""

    def __str__(self) -> str:
        reply = "no answer" if self.answered is None else repr(self.reply)
        return f"{self.client}: {self.call!r} -> {reply}"


class History:
    """Records calls and their answers in the order in which they happen. Not thread-safe."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        """All calls, in order."""
        self._order = count()

    def __str__(self) -> str:
        return "\n".join(f"  {operation}" for operation in self.operations)

    def invoke(self, client: str, call: Any) -> Operation:
        """Record a call. Use it just before the call.

        Args:
            client: the name of the caller.
            call: what is called, as `model` of `assert_linearizable` takes it.

        Returns:
            The operation, for `answer` or `withdraw`.
        """
        operation = Operation(client, call, next(self._order))
        self.operations.append(operation)
        return operation

    def answer(self, operation: Operation, reply: Any) -> None:
        """Record the answer of a call. Use it just after the answer arrives.

        Args:
            operation: what `invoke` returned.
            reply: the answer.
        """
        operation.answered = next(self._order)
        operation.reply = reply

    def withdraw(self, operation: Operation) -> None:
        """Remove a call that certainly had no effect, such as one that was refused."""
        self.operations.remove(operation)


def assert_linearizable(
    history: History,
    model: Callable[[S, Any], tuple[S, Any]],
    initial: S,
    *,
    max_states: int = 100_000,
) -> Sequence[Operation]:
    """Check that each call seems to take effect at one moment between call and answer.

    Args:
        history: the calls. A call without an answer may have taken effect or not.
        model: a function that takes a state and a call, and returns the next state and the reply.
            States must be hashable. The function must not change them.
        initial: the first state.
        max_states: the largest number of states to try.

    Returns:
        The calls in an order that the model explains.

    Raises:
        AssertionError: there is no such order. The message has the history.
        MisuseError: no such order was found within `max_states`.
    """
    search = _Search(history.operations, model, max_states)
    order = search.run(initial)
    if order is None:
        done, state = search.furthest
        raise AssertionError(
            "the history is not linearizable: no order of these calls explains their replies"
            f"\n{history}\nthe longest explained order, up to the state {state!r}, is:\n"
            + "\n".join(f"  {operation}" for operation in done)
        )
    return order


class _Search:
    def __init__(
        self,
        operations: list[Operation],
        model: Callable[[Any, Any], tuple[Any, Any]],
        max_states: int,
    ) -> None:
        self._operations = operations
        self._model = model
        self._max_states = max_states
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
                reached = (done | {index}, after)
                if reached in self._seen:
                    continue
                if len(self._seen) >= self._max_states:
                    raise MisuseError(
                        f"no order found within {self._max_states} states: use a shorter history,"
                        " or a larger max_states"
                    )
                self._seen.add(reached)
                stack.append((reached[0], after, [*order, operation]))
        return None

    def _next(self, done: frozenset[int]) -> list[int]:
        """Return the calls that may be next: those before the first of the remaining answers."""
        left = [i for i in range(len(self._operations)) if i not in done]
        answers = [a for i in left if (a := self._operations[i].answered) is not None]
        first = min(answers, default=float("inf"))
        return [i for i in left if self._operations[i].invoked < first]
