"""Records the waits of actors, and finds the deadlocks among them.

When the code of an actor begins to wait for a reply, by blocking its thread or by awaiting it, the
wait is recorded here, together with the activity that it holds up (`Activity`). The need of a reply
(`Need`) is a formula over such waits. A deadlock is a set of waits each of which can end only after
another one of the set. `find_stuck`, a pure function, finds it.

Guarantees:

*   A wait is recorded and checked under one lock. If several waits close a circle at the same
    moment, the last of them finds it.
*   There are no false alarms: a wait that is failed could not have got its reply. It depends on
    other pending waits, and none of these times out first, since the wait with the earliest
    deadline is failed. That may be a wait of another thread. If no wait has a deadline, the newest
    is failed.
*   A wait is not recorded if no actor is known to depend on it: a wait of a thread without an
    actor's context, or of a task that a handler or a tool left running (`task_tree`).

`check_again` is called where the need of a reply changes without a new wait, such as when a pool
assigns a turn to a member.

The lock is re-entrant, and collections are copied before they are iterated: a finalizer that runs
in the middle of a method may wait too, and adds its wait before or after the search.
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage] # no public name

from agy_actors._actors import forks
from agy_actors._actors.call_chain import current_caller
from agy_actors._actors.errors import DeadlockError
from agy_actors._actors.runtime import current_runtime

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Any

    from agy_actors._actors.call_chain import Activity, CallingActor
    from agy_actors._actors.reply import Reply

__all__ = [
    "CAN_COME",
    "AllOf",
    "AnyOf",
    "Need",
    "Wait",
    "all_waits",
    "begin_wait",
    "check_again",
    "find_stuck",
    "need_of",
    "waits_of",
]


class AllOf(NamedTuple):
    """Something that can come when all of these waits can end."""

    parts: tuple[Need, ...]


class AnyOf(NamedTuple):
    """Something that can come when one of these waits can end."""

    parts: tuple[Need, ...]


class Wait:
    """A pending wait of an actor's code.

    Args:
        activity: the code that waits, and the part of its actor that it holds up.
        goals: the replies that it waits for; any of them ends it.
        deadline: when it times out, on the runtime's clock; `math.inf` for never.
        give_up: called on any thread when the wait fails, after `error` is set.
    """

    __slots__ = ("activity", "deadline", "error", "give_up", "goals")

    def __init__(
        self,
        activity: Activity,
        goals: Collection[Reply],
        deadline: float,
        give_up: Callable[[], object],
    ) -> None:
        self.activity = activity
        self.goals = goals
        self.deadline = deadline
        self.give_up = give_up
        self.error: DeadlockError | None = None
        """The error that the wait ends with if it is part of a deadlock."""

    def end(self) -> None:
        """Remove the wait from the record: it has ended, with or without a reply."""
        _graph.remove(self)


Need: TypeAlias = Wait | AllOf | AnyOf

CAN_COME = AllOf(())
"""The need of a reply that depends on no wait."""


def find_stuck(needs: Mapping[Wait, Need], wait: Wait) -> list[Wait]:
    """Return the waits that prevent a wait from ever ending; an empty list if it can end.

    Args:
        needs: the need of `wait`, and of each wait that it needs, directly or not.
        wait: the wait. It is the first in the result, if it cannot end.
    """
    stuck = dict.fromkeys(needs)
    # The least fixed point: the waits that can end, given the others that can.
    while ended := [other for other in stuck if _can_come(needs[other], stuck)]:
        for other in ended:
            del stuck[other]
    found: dict[Wait, None] = {}
    left = [wait] if wait in stuck else []
    while left:
        other = left.pop()
        if other not in found:
            found[other] = None
            left += [needed for needed in _waits_in(needs[other]) if needed in stuck]
    return list(found)


def _can_come(need: Need, stuck: Collection[Wait]) -> bool:
    if isinstance(need, AllOf):
        return all(_can_come(part, stuck) for part in need.parts)
    if isinstance(need, AnyOf):
        return any(_can_come(part, stuck) for part in need.parts)
    return need not in stuck


def _waits_in(need: Need) -> Iterator[Wait]:
    if isinstance(need, Wait):
        yield need
    else:
        for part in need.parts:
            yield from _waits_in(part)


class _Graph:
    """The pending waits of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waits: dict[str, dict[Wait, None]] = {}
        """By the URN of the actor that waits."""
        forks.give_up_in_children(self)

    def give_up(self) -> None:
        """Remove all waits in a forked child: they belong to threads of the parent."""
        self._lock = threading.RLock()
        self._waits = {}

    def of(self, urn: str) -> list[Wait]:
        """Return the waits of an actor."""
        waits = self._waits.get(urn)
        return [] if waits is None else list(waits)

    def all(self) -> list[Wait]:
        """Return all waits."""
        return [wait for waits in list(self._waits.values()) for wait in list(waits)]

    def add(self, wait: Wait) -> None:
        """Record a wait that begins.

        Raises:
            DeadlockError: its reply could never come.
        """
        with self._lock:
            self._waits.setdefault(wait.activity.actor.actor_urn, {})[wait] = None
            circles = self._break(wait)
        _announce(circles, but=wait)
        if wait.error is not None:
            raise wait.error

    def check_again(self, reply: Reply) -> None:
        """Check the waits for a reply again, because its need has changed."""
        if not self._waits:
            return
        for wait in self.all():
            if reply in wait.goals:
                with self._lock:
                    circles = self._break(wait) if wait in self.of(_urn(wait)) else []
                _announce(circles)

    def remove(self, wait: Wait) -> None:
        with self._lock:
            waits = self._waits.get(_urn(wait))
            if waits is not None:
                waits.pop(wait, None)
                if not waits:
                    self._waits.pop(_urn(wait), None)

    def _break(self, wait: Wait) -> list[list[Wait]]:
        """Remove waits until a wait can end.

        Returns:
            For each removed wait, a circle that begins with it.
        """
        circles: list[list[Wait]] = []
        while True:
            needs = _needs_around(wait)
            stuck = find_stuck(needs, wait)
            if not stuck:
                return circles
            # The earliest: no wait that it needs times out before it does.
            victim = min(stuck, key=lambda other: other.deadline)
            circles.append(_circle(victim, needs, stuck))
            self.remove(victim)
            if victim is wait:
                return circles


def _needs_around(wait: Wait) -> dict[Wait, Need]:
    """Return the need of a wait, and of each wait that it needs, directly or not."""
    needs: dict[Wait, Need] = {}
    left = [wait]
    while left:
        other = left.pop()
        if other not in needs:
            needs[other] = AnyOf(tuple(need_of(reply) for reply in list(other.goals)))
            left += _waits_in(needs[other])
    return needs


def _circle(wait: Wait, needs: Mapping[Wait, Need], stuck: Collection[Wait]) -> list[Wait]:
    """Return a circle of waits: each needs the next one, and the last needs one of them."""
    path = [wait]
    while True:
        following = next(other for other in _waits_in(needs[path[-1]]) if other in stuck)
        path.append(following)
        if following in path[:-1]:
            return path


def _announce(circles: list[list[Wait]], but: Wait | None = None) -> None:
    """Fail the first wait of each circle. Outside the lock, since names come from actors' code."""
    for circle in circles:
        victim = circle[0]
        victim.error = _error(circle)
        if victim is not but:
            victim.give_up()


def _error(circle: list[Wait]) -> DeadlockError:
    goal = next(iter(circle[0].goals), None)
    message, actor = (None, None) if goal is None else _about(goal)
    message = getattr(message, "message", message)  # A wrapper is named by its message.
    kind = "stop" if isinstance(message, _ActorStop) else type(message).__name__
    chain = " -> ".join(_name(wait.activity.actor) for wait in circle)
    return DeadlockError(
        f"the reply of {actor} to {kind} can never come: it waits for this very code ({chain});"
        " ask with block=False and do not wait for the reply here, or tell it"
    )


def _about(reply: Reply) -> tuple[object, object]:
    return reply._about or (None, None)  # noqa: SLF001 (of this package)


def _name(actor: CallingActor) -> str:
    try:
        return actor.caller_name()
    except Exception:  # noqa: BLE001 (it is user code, and other waits must fail too)
        return type(actor).__name__


def _urn(wait: Wait) -> str:
    return wait.activity.actor.actor_urn


def need_of(reply: Reply) -> Need:
    """Return the need of a reply."""
    if reply.done():
        return CAN_COME
    find_needs = reply._needs  # noqa: SLF001 (of this package)
    if find_needs is not None:
        need: Need = find_needs()
        return need
    message, actor = _about(reply)  # Without an actor, any code may resolve it.
    find = getattr(actor, "_need_of", None)
    return CAN_COME if find is None else find(message, reply)


def waits_of(urn: str, message: object, reply: object) -> AllOf:
    """Return the waits of an actor that prevent it from replying to a message."""
    waits = _graph.of(urn)
    if not waits:
        return CAN_COME
    return AllOf(tuple(wait for wait in waits if wait.activity.holds_up(message, reply)))


def all_waits() -> list[Wait]:
    """Return all pending waits."""
    return _graph.all()


def begin_wait(
    goals: Collection[Reply],
    timeout: float | None,
    give_up: Callable[[], object],
    task: asyncio.Task[Any] | None = None,
) -> Wait | None:
    """Record that the running code waits, until `Wait.end`.

    Args:
        goals: the replies that it waits for; any of them ends the wait.
        timeout: the seconds after which the wait ends without a reply.
        give_up: called on any thread when the wait fails. The wait must then end with its
            `error`, unless a reply came first.
        task: the running task, if it awaits them; `None` if it blocks the running thread.

    Returns:
        The wait; `None` if nothing depends on this code.

    Raises:
        DeadlockError: none of the replies can come.
    """
    caller = current_caller.get()
    activity = None if caller is None else caller.activity(task)
    if activity is None:
        return None
    deadline = math.inf if timeout is None else current_runtime().monotonic() + timeout
    wait = Wait(activity, goals, deadline, give_up)
    _graph.add(wait)
    return wait


_graph = _Graph()
check_again = _graph.check_again
