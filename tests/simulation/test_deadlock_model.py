"""Actors with drawn waits for each other: each deadlock is detected, and nothing else is.

Each run is compared with a run of the same schedule without deadlock detection.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any
from unittest import mock

import hypothesis
import pykka
import pytest
from hypothesis import strategies as st

from agy_actors import AskTimeout, AsyncioActor, DeadlockError, as_completed
from agy_actors._actors import actor_ref as _ref
from agy_actors._actors import deadlock as waits
from agy_actors._actors.message import Lane, Message
from agy_actors.testing import Deviations, Simulation, SimulationDeadlock, schedules
from tests.simulation.effort import EFFORT, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agy_actors._actors.actor_ref import AsyncioActorRef
    from agy_actors._actors.call_chain import Caller, Frame
    from agy_actors.testing.simulation.schedules import Schedule

pytestmark = [
    # Coroutines that block their loop are among the ways to wait.
    pytest.mark.filterwarnings("ignore::agy_actors.BlockingCallWarning"),
    pytest.mark.timeout(120 * max(1.0, EFFORT)),
    # Of handlers of a simulation that was given up, before their first step.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

SETTINGS = hypothesis.settings(max_examples=times(60), deadline=None, print_blob=False)

WAYS = ("await", "thread", "loop", "get", "first", "task", "leave")
KINDS = ("query", "turn", "stop")
TIMEOUTS = (None, 100.0, 200.0)
"""Seconds. Far longer than all steps of the actors."""


@dataclasses.dataclass(eq=False)
class Step:
    """One wait of a handler for the reply to the message in it."""

    target: int
    kind: str
    way: str
    timeout: float | None
    plan: list[Step]
    together: bool
    """Whether the handler takes the steps of its plan concurrently."""
    outcome: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Query(Message[None]):
    step: Step


@dataclasses.dataclass(frozen=True, eq=False)
class Turn(Message[None]):
    step: Step

    lane = Lane.TURN


class World:
    """The actors, and the results of the steps, in the order in which they end."""

    def __init__(self, graces: Sequence[float | None]) -> None:
        self.graces = graces
        self.refs: list[AsyncioActorRef] = []
        self.over = False
        """Whether the actors are stopped without waiting for them."""
        self.waiting: dict[Step, None] = {}
        self.given_up: list[Step] = []
        self.timed_out: list[Step] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for grace in self.graces:
            kind: type[Waiter] = type("Waiter", (Waiter,), {"stop_grace": grace})
            self.refs.append(kind.start(self))

    async def take(self, step: Step) -> None:
        self.waiting[step] = None
        outcome = "answered"
        try:
            await self.wait(step)
        except DeadlockError:
            outcome = "deadlock"
            self.given_up += [] if self.over else [step]
        except AskTimeout:
            outcome = "timeout"
            self.timed_out += [] if self.over else [step]
        except pykka.ActorDeadError:
            outcome = "dead"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            if not self.over:
                step.outcome = outcome
                del self.waiting[step]

    async def wait(self, step: Step) -> None:
        ref = self.refs[step.target]
        match step.way:
            case "await":
                await self.send(ref, step)
            case "task":
                await asyncio.gather(self.send(ref, step), asyncio.sleep(0))
            case "thread":
                await asyncio.to_thread(self.ask, ref, step)
            case "loop":
                self.ask(ref, step)
            case "get":
                self.send(ref, step).get(timeout=step.timeout)
            case "first":
                next(as_completed([self.send(ref, step)], timeout=step.timeout)).get()
            case "leave":
                self.tasks.append(asyncio.create_task(self.leave(ref, step)))
                await asyncio.sleep(0)

    async def leave(self, ref: AsyncioActorRef, step: Step) -> None:
        with contextlib.suppress(pykka.ActorDeadError):
            await self.send(ref, step)

    def send(self, ref: AsyncioActorRef, step: Step) -> Any:
        if step.kind == "stop":
            return ref.stop(block=False)
        return ref.ask(message_of(step), block=False)

    def ask(self, ref: AsyncioActorRef, step: Step) -> None:
        if step.kind == "stop":
            ref.stop(timeout=step.timeout)
        else:
            ref.ask(message_of(step), timeout=step.timeout)


class Waiter(AsyncioActor):
    """Carries out the plan in its messages."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    async def on_receive(self, message: Any) -> None:
        step: Step = message.step
        await asyncio.sleep(1.0)  # So that several handlers are where they wait.
        if step.together:
            await asyncio.gather(*map(self.world.take, step.plan))
        else:
            for part in step.plan:
                await self.world.take(part)


def message_of(step: Step) -> Query | Turn:
    return Turn(step) if step.kind == "turn" else Query(step)


def steps(size: int) -> st.SearchStrategy[Step]:
    def step(plans: st.SearchStrategy[list[Step]]) -> st.SearchStrategy[Step]:
        return st.builds(
            Step,
            target=st.integers(0, size - 1),
            kind=st.sampled_from(KINDS),
            way=st.sampled_from(WAYS),
            timeout=st.sampled_from(TIMEOUTS),
            plan=plans,
            together=st.booleans(),
        )

    return st.recursive(
        step(st.just([])), lambda inner: step(st.lists(inner, max_size=2)), max_leaves=6
    )


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[float | None], list[Step]]:
    graces = draw(st.lists(st.sampled_from([None, None, 0.0]), min_size=2, max_size=3))
    first = steps(len(graces)).filter(lambda step: step.kind != "stop" and bool(step.plan))
    return graces, draw(st.lists(first, min_size=1, max_size=3))


def run(graces: Sequence[float | None], firsts: list[Step], schedule: Schedule) -> World:
    """Run the plans for longer than their steps take, and return the results."""
    world = World(graces)

    def scenario(simulation: Simulation) -> None:
        world.start()
        for step in firsts:
            world.refs[step.target].ask(message_of(step), block=False)
        simulation.sleep(1000.0)
        world.over = True

    with contextlib.suppress(SimulationDeadlock):  # Of actors that cannot be ended either.
        Simulation(schedule).run(scenario)
    assert world.over
    return world


@contextlib.contextmanager
def nothing_looked_for() -> Iterator[None]:
    """Disable deadlock detection."""

    def frames_of(_: object, __: object, caller: Caller, **___: object) -> tuple[Frame, ...]:
        return caller.frames()

    with (
        mock.patch.object(_ref, "chain_to", frames_of),
        mock.patch.object(waits._graph, "add", return_value=None),
    ):
        yield


def numbered(firsts: list[Step]) -> list[Step]:
    found: list[Step] = []
    left = list(firsts)
    while left:
        step = left.pop()
        found.append(step)
        left += step.plan
    return found


def doomed(step: Step, firsts: list[Step], without: dict[Step, str | None]) -> bool:
    """Return whether a step had no result without deadlock detection.

    Its handler may have been cancelled together with the handler that asked for it.
    """
    line = next(line for first in firsts if (line := line_to(step, first)))
    return any(without[above] in (None, "cancelled") for above in line[1:])


def line_to(step: Step, above: Step) -> list[Step]:
    """Return the steps of a plan from one to another, both included; empty if not there."""
    if step is above:
        return [step]
    lines = (line_to(step, part) for part in above.plan)
    return next(([above, *line] for line in lines if line), [])


@SETTINGS
@hypothesis.given(plan=plans(), schedule=schedules())
def test_each_deadlock_is_found_and_nothing_else_is_one(
    plan: tuple[list[float | None], list[Step]], schedule: Deviations
) -> None:
    judge(*plan, lambda: Deviations(schedule.deviations))


def judge(
    graces: list[float | None], firsts: list[Step], schedule: Callable[[], Schedule]
) -> World:
    every = numbered(firsts)
    with nothing_looked_for():
        before = run(graces, firsts, schedule())
    without = {step: step.outcome for step in every}
    for step in every:
        step.outcome = None

    world = run(graces, firsts, schedule())

    assert not world.waiting, "a deadlock was not found"
    assert not world.timed_out, "a deadlock was not found before a wait timed out"
    if world.given_up and not (before.waiting or before.timed_out):
        assert doomed(world.given_up[0], firsts, without), "what would have come was given up"
    return world
