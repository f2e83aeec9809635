"""All kinds of schedules find planted bugs, and simplify their schedules."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from agy_actors.testing import (
    Deviations,
    DrawnChoices,
    Exhaustive,
    History,
    PctSchedules,
    RandomSchedules,
    Simulation,
    assert_linearizable,
    explore,
    schedules,
)
from tests.simulation.actors import Echo, Register

QUICK = hypothesis.settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=False,
    report_multiple_bugs=False,
)


def lost_update(sim: Simulation) -> None:
    """Let two clients read a value, then write it plus one: a race."""
    register = Register.start()

    async def increment() -> None:
        value = await register.ask(("read",), block=False)
        await register.ask(("write", value + 1), block=False)

    async def twice() -> None:
        sim.client(increment, name="a")
        await increment()

    sim.client(twice, name="b").result()
    sim.sleep(1)
    assert register.ask(("read",)) == 2, "an update was lost"


def rare(sim: Simulation) -> None:
    """Fail only if the third message arrives before the first two."""
    register = Register.start()

    def write(value: int) -> None:
        register.ask(("write", value))

    clients = [sim.client(write, value) for value in (3, 2, 1)]
    for client in clients:
        client.result()
    assert register.ask(("read",)) != 3


def sound(sim: Simulation) -> None:
    """Do the same with one message for each update, which has no race."""
    register = Register.start()

    def increment() -> None:
        register.ask(("add", 1))

    for client in [sim.client(increment) for _ in range(2)]:
        client.result()
    assert register.ask(("read",)) == 2


def deviations_of(error: BaseException) -> int:
    note = error.__notes__[0]
    return int(note.partition("with ")[2].partition(" deviations")[0])


@pytest.mark.parametrize(
    "strategy", [RandomSchedules, PctSchedules], ids=lambda strategy: strategy.__name__
)
@pytest.mark.parametrize("scenario", [lost_update, rare], ids=lambda s: s.__name__)
def test_a_race_is_found_and_shrunk_to_few_deviations(
    scenario: Any, strategy: type[RandomSchedules]
) -> None:
    with pytest.raises(AssertionError) as found:
        explore(scenario, strategy(0), runs=500, shrink=0)
    with pytest.raises(AssertionError) as shrunk:
        explore(scenario, strategy(0), runs=500)

    fewest = fewest_deviations(scenario)
    assert deviations_of(found.value) > deviations_of(shrunk.value) == fewest
    token = shrunk.value.__notes__[0].partition("Simulation.replay('")[2].partition("'")[0]
    again = Simulation.replay(token)
    with pytest.raises(AssertionError):
        again.run(scenario)
    assert sum(map(bool, again.choices)) == fewest


def fewest_deviations(scenario: Any) -> int:
    """Return the number of deviations of the simplest schedule in which a scenario fails."""
    for bound in range(4):
        try:
            assert explore(scenario, Exhaustive(bound), runs=20_000, shrink=0).complete
        except AssertionError as error:
            return deviations_of(error)
    pytest.fail("no schedule of few deviations fails")


class TheLast:
    """One schedule alone: the last of all values that are drawn, in first come, first served."""

    def __init__(self) -> None:
        self._left: list[Any] = [self]

    def next(self, last: Simulation | None) -> Any:
        return self._left.pop() if self._left else None

    def choose(self, width: int, ready: Any) -> int:
        return 0 if ready else width - 1


def test_a_shrunk_failure_is_of_the_type_that_was_found() -> None:
    def scenario(sim: Simulation) -> None:
        first, second, _ = (sim.choose(False, True) for _ in range(3))
        if first and second:
            raise LookupError("both")
        if first or second:
            raise ValueError("another failure, and a simpler one")

    with pytest.raises(LookupError) as raised:
        explore(scenario, TheLast())

    assert deviations_of(raised.value) == 2  # And not the third.


def test_a_shrunk_failure_has_the_earliest_and_smallest_choices() -> None:
    def scenario(sim: Simulation) -> None:
        chosen = [sim.choose(*range(4)) for _ in range(2)]
        assert not any(chosen), f"chose {chosen}"

    with pytest.raises(AssertionError, match=r"chose \[0, 1\]|chose \[1, 0\]"):
        explore(scenario, TheLast())


def test_shrinking_a_failure_stays_within_its_budget() -> None:
    runs = []

    def scenario(sim: Simulation) -> None:
        runs.append([sim.choose(False, True) for _ in range(50)])
        assert sum(runs[-1]) < 25

    with pytest.raises(AssertionError) as raised:
        explore(scenario, TheLast(), shrink=7)

    assert len(runs) == 1 + 7
    assert "found in run 1, and simplified in 7 more" in raised.value.__notes__[1]


@pytest.mark.parametrize("strategy", [RandomSchedules, PctSchedules])
def test_a_correct_scenario_passes_in_every_schedule(strategy: Any) -> None:
    result = explore(sound, strategy(0), runs=200)

    assert result.runs == 200
    assert result.distinct > 50


def test_a_small_scenario_is_explored_to_its_end() -> None:
    orders = set()

    def scenario(sim: Simulation) -> None:
        register = Register.start()
        for value in (1, 2, 3):
            sim.client(register.tell, ("write", value))
        sim.sleep(1)
        orders.add(register.ask(("read",)))

    result = explore(scenario, Exhaustive(), runs=50_000)

    assert result.complete
    assert result.runs == result.distinct
    assert orders == {1, 2, 3}


@pytest.mark.parametrize(
    ("deviations", "combinations"),
    [(None, 24), (0, 1), (1, 1 + 3 + 2 + 1), (2, 24 - 3 * 2 * 1), (3, 24)],
)
def test_all_combinations_of_drawn_values_are_tried_once(
    deviations: int | None, combinations: int
) -> None:
    seen = []

    def scenario(sim: Simulation) -> None:
        seen.append((sim.choose(*"abcd"), sim.choose(1, 2, 3), sim.choose(False, True)))

    result = explore(scenario, Exhaustive(deviations), runs=100)

    assert result.complete
    assert result.runs == result.distinct == len(set(seen)) == combinations


def test_an_exploration_that_is_cut_short_is_not_complete() -> None:
    result = explore(lambda sim: sim.choose(1, 2, 3), Exhaustive(), runs=2)

    assert not result.complete
    assert result.runs == 2


def test_the_bound_of_deviations_bounds_the_exploration() -> None:
    runs = [explore(sound, Exhaustive(bound), runs=5000).runs for bound in (0, 1)]

    assert runs[0] == 1
    assert 1 < runs[1] < 200


def test_hypothesis_finds_a_race_and_shrinks_it() -> None:
    found: list[Deviations] = []

    @QUICK
    @hypothesis.given(schedules(max_gap=3, max_choice=2))  # With more options, too few find it.
    def run(schedule: Deviations) -> None:
        try:
            Simulation(schedule).run(rare)
        except AssertionError:
            found.append(schedule)
            raise

    with pytest.raises(AssertionError):
        run()

    assert len(found[-1].deviations) <= 2


def test_hypothesis_draws_each_choice_where_it_is_asked_to() -> None:
    shortest: list[int] = []

    @QUICK
    @hypothesis.given(st.data())
    def run(data: st.DataObject) -> None:
        simulation = Simulation(DrawnChoices(data))
        try:
            simulation.run(rare)
        except AssertionError:
            shortest.append(sum(map(bool, simulation.choices)))
            raise

    with pytest.raises(AssertionError):
        run()

    assert shortest[-1] <= 3


def test_the_same_seed_explores_the_same_schedules() -> None:
    def run(seed: int) -> list[tuple[int, ...]]:
        seen: list[tuple[int, ...]] = []

        class Noting(RandomSchedules):
            def next(self, last: Simulation | None) -> Any:
                if last is not None:
                    seen.append(tuple(last.choices))
                return super().next(last)

        explore(sound, Noting(seed), runs=20)
        return seen

    assert run(7) == run(7)
    assert run(7) != run(8)


# Linearizability.


def register_model(state: int, call: tuple[Any, ...]) -> tuple[int, int]:
    kind, *value = call
    if kind == "write":
        return value[0], value[0]
    if kind == "add":
        return state + value[0], state + value[0]
    return state, state


def test_concurrent_asks_of_an_actor_linearize() -> None:
    def scenario(sim: Simulation) -> None:
        register = Register.start()
        history = History()

        async def client(name: str, calls: list[Any]) -> None:
            for call in calls:
                operation = history.invoke(name, call)
                history.answer(operation, await register.ask(call, block=False))

        plans = {"a": [("write", 1), ("read",)], "b": [("add", 5), ("read",)], "c": [("add", 7)]}
        for running in [sim.client(client, name, calls) for name, calls in plans.items()]:
            running.result()
        assert_linearizable(history, register_model, 0)

    assert explore(scenario, RandomSchedules(3), runs=200).distinct > 100


def test_a_history_that_no_order_explains_is_refused() -> None:
    history = History()
    write = history.invoke("a", ("write", 1))
    history.answer(write, 1)
    history.answer(history.invoke("b", ("read",)), 0)

    with pytest.raises(AssertionError, match="not linearizable"):
        assert_linearizable(history, register_model, 0)


def test_overlapping_calls_may_take_any_order() -> None:
    history = History()
    write = history.invoke("a", ("write", 1))
    read = history.invoke("b", ("read",))
    history.answer(read, 0)
    history.answer(write, 1)

    assert list(assert_linearizable(history, register_model, 0)) == [read, write]


@pytest.mark.parametrize("seen", [0, 9])
def test_a_call_without_an_answer_may_have_happened_or_not(seen: int) -> None:
    history = History()
    history.invoke("a", ("write", 9))
    history.answer(history.invoke("b", ("read",)), seen)

    assert_linearizable(history, register_model, 0)


def test_a_withdrawn_call_never_happened() -> None:
    history = History()
    refused = history.invoke("a", ("write", 9))
    history.withdraw(refused)
    history.answer(history.invoke("b", ("read",)), 9)

    with pytest.raises(AssertionError):
        assert_linearizable(history, register_model, 0)


def test_a_stale_read_of_a_cached_value_is_found() -> None:
    def scenario(sim: Simulation) -> None:
        register, cache = Register.start(), Echo.start()
        history = History()
        copy = [0]

        async def writer() -> None:
            operation = history.invoke("writer", ("write", 1))
            history.answer(operation, await register.ask(("write", 1), block=False))
            copy[0] = await cache.ask(1, block=False)

        async def reader() -> None:
            for _ in range(2):
                operation = history.invoke("reader", ("read",))
                value = copy[0] or await register.ask(("read",), block=False)
                history.answer(operation, value if copy[0] else 0)

        for running in (sim.client(writer), sim.client(reader)):
            running.result()
        assert_linearizable(history, register_model, 0)

    with pytest.raises(AssertionError, match="not linearizable"):
        explore(scenario, RandomSchedules(0), runs=500)
