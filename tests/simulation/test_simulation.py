"""The simulation itself: order, time, replay, and the errors that it detects."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from agy_actors import AskTimeout, AsyncioActor, as_completed
from agy_actors._actors.future import ReplyFuture
from agy_actors.testing import (
    RandomChoices,
    RandomSchedules,
    ReplayChoices,
    Simulation,
    SimulationDeadlock,
    SimulationLivelock,
    explore,
)
from tests.simulation.actors import Asker, Echo, Relay, Sleeper, Work, Worker

if TYPE_CHECKING:
    from agy_actors._actors.actor_ref import AsyncioActorRef


def test_undisturbed_clients_are_served_first_come_first_served() -> None:
    def scenario(sim: Simulation) -> list[Any]:
        relay = Relay.start()
        clients = [sim.client(relay.ask, number) for number in range(5)]
        for client in clients:
            client.result()
        seen: list[Any] = relay.ask("last")
        return seen

    assert Simulation().run(scenario) == [0, 1, 2, 3, 4, "last"]


def test_a_choice_takes_another_first() -> None:
    def scenario(sim: Simulation) -> list[Any]:
        relay = Relay.start()
        clients = [sim.client(relay.ask, number) for number in range(3)]
        for client in clients:
            client.result()
        seen: list[Any] = relay.ask("last")
        return seen

    orders = {tuple(Simulation(ReplayChoices([0, n])).run(scenario)) for n in range(4)}

    assert len(orders) > 1


def test_time_jumps_and_takes_no_time() -> None:
    async def scenario(sim: Simulation) -> float:
        sleeper = Sleeper.start()
        await sleeper.ask(86_400.0, block=False)
        await asyncio.sleep(0.5)
        return sim.now

    assert Simulation().run(scenario) == 86_400.5


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    async def scenario(_: Simulation) -> list[float]:
        sleepers = [Sleeper.start() for _ in range(3)]
        asks = [s.ask(t, block=False) for s, t in zip(sleepers, (3.0, 1.0, 2.0), strict=True)]
        woken = []
        for _ in asks:
            done, _pending = await asyncio.wait(
                [asyncio.ensure_future(a) for a in asks if not a.done()],
                return_when=asyncio.FIRST_COMPLETED,
            )
            woken += [future.result() for future in done]
        return woken

    assert Simulation().run(scenario) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("preempt", [False, True])
def test_a_token_replays_a_run_to_the_letter(preempt: bool) -> None:
    def scenario(sim: Simulation) -> None:
        last = Relay.start()
        first = Relay.start(last)
        for client in [sim.client(first.ask, n) for n in range(3)]:
            client.result()
        last.stop()

    for seed in range(20):
        simulation = Simulation(RandomChoices(seed), preempt=preempt)
        simulation.run(scenario)
        again = Simulation.replay(simulation.token)
        again.run(scenario)

        assert str(again.trace) == str(simulation.trace)
        assert again.token == simulation.token


def test_the_token_of_another_version_is_refused() -> None:
    version, _, choices = Simulation().token.partition("-")
    Simulation.replay(f"{version}-{choices}")

    with pytest.raises(ValueError, match=rf"is from agy_actors 0\.0\.1, and this is {version}"):
        Simulation.replay(f"0.0.1-{choices}")


@pytest.mark.parametrize("choices", ["", "AAAA", "AAAB", "%%%"])
def test_an_invalid_token_is_refused(choices: str) -> None:
    version = Simulation().token.partition("-")[0]

    with pytest.raises(ValueError, match="is not a complete token of a simulation"):
        Simulation.replay(f"{version}-{choices}")


def test_a_token_that_was_cut_or_changed_is_refused() -> None:
    simulation = Simulation(RandomChoices(1), seed=7, preempt=True)
    simulation.run(lambda sim: [sim.choose(*range(200)) for _ in range(20)])
    version, _, choices = simulation.token.partition("-")

    for wrong in (choices[:-4], choices[4:], choices.swapcase(), f"{choices}AAAA"):
        with pytest.raises(ValueError, match="is not a complete token"):
            Simulation.replay(f"{version}-{wrong}")


@pytest.mark.parametrize("seed", [0, 1, 7, -1, -8, 2**70])
def test_a_token_keeps_choices_seed_and_preemption(seed: int) -> None:
    simulation = Simulation(RandomChoices(1), seed=seed, preempt=True)
    values = simulation.run(lambda sim: [sim.choose(*range(200)) for _ in range(20)])

    again = Simulation.replay(simulation.token)

    assert (again.seed, again.preempt) == (seed, True)
    assert again.run(lambda sim: [sim.choose(*range(200)) for _ in range(20)]) == values
    assert not Simulation.replay(Simulation().token).preempt


def test_blocking_clients_take_turns_on_their_own_stacks() -> None:
    threads: list[int] = []

    def scenario(sim: Simulation) -> list[float]:
        sleeper = Sleeper.start()

        def client(seconds: float) -> float:
            threads.append(threading.get_ident())
            sim.sleep(seconds)
            reply: float = sleeper.ask(seconds)
            return reply + sim.now

        clients = [sim.client(client, float(n)) for n in range(1, 4)]
        return [client.result() for client in clients]

    assert Simulation().run(scenario) == [3.0, 6.0, 9.0]
    assert len(threads) == 3


def test_a_blocking_handler_lets_the_others_run() -> None:
    def scenario(_: Simulation) -> str:
        echo = Echo.start()
        outer = Asker.start(lambda: Asker.start(lambda: echo))
        reply: str = outer.ask("deep")
        return reply

    assert Simulation().run(scenario) == "deep"


def test_futures_completed_and_timed_out_keep_virtual_time() -> None:
    def scenario(sim: Simulation) -> float:
        sleepers = [Sleeper.start() for _ in range(3)]
        asks = [s.ask(float(t), block=False) for s, t in zip(sleepers, (3, 1, 2), strict=True)]
        assert [future.get() for future in as_completed(asks)] == [1.0, 2.0, 3.0]
        with pytest.raises(AskTimeout):
            sleepers[0].ask(100.0, timeout=2.5)
        return sim.now

    assert Simulation().run(scenario) == 5.5


def test_work_in_an_executor_has_its_own_fiber() -> None:
    class Delegating(AsyncioActor):
        async def on_receive(self, message: AsyncioActorRef) -> Any:
            return await asyncio.to_thread(message.ask, "from a worker")

    def scenario(_: Simulation) -> str:
        reply: str = Delegating.start().ask(Echo.start())
        return reply

    assert Simulation().run(scenario) == "from a worker"


def test_the_error_of_a_deadlock_names_the_waits() -> None:
    never: ReplyFuture[None] = ReplyFuture()

    def scenario(sim: Simulation) -> None:
        class Waiting(AsyncioActor):
            async def on_receive(self, message: Any) -> None:
                del message
                await never

        async def client() -> None:
            await waiting.ask("question", block=False)

        waiting = Waiting.start()
        sim.client(client, name="alice").result()

    with pytest.raises(SimulationDeadlock) as raised:
        Simulation().run(scenario)

    words = str(raised.value)
    assert "alice waits for the reply to question by Waiting-1" in words
    assert "main waits for the end of alice" in words
    assert "Waiting-1, handling question, waits for a reply" in words
    never.cancel()
    assert pykka.ActorRegistry.get_all() == []


def test_a_supervisors_ticking_timers_hide_no_deadlock() -> None:
    class Ticking(AsyncioActor):
        def on_start(self) -> None:
            self._tick()

        def _tick(self) -> None:
            self._loop.call_later(0.5, self._tick)

    never: ReplyFuture[None] = ReplyFuture()

    def scenario(_: Simulation) -> None:
        Ticking.start()
        never.get()

    with pytest.raises(SimulationDeadlock, match="main waits for a reply"):
        Simulation(patience=60).run(scenario)
    never.cancel()


def test_a_client_that_fails_fails_the_simulation_with_its_trace() -> None:
    def scenario(sim: Simulation) -> None:
        echo = Echo.start()

        def failing() -> None:
            echo.ask("about to fail")
            raise ZeroDivisionError

        sim.client(failing)
        sim.sleep(10)

    with pytest.raises(ZeroDivisionError) as raised:
        Simulation().run(scenario)

    (note,) = raised.value.__notes__
    assert "failing" in note
    assert "puts about to fail for Echo-1" in note
    assert "Simulation.replay('" in note
    assert pykka.ActorRegistry.get_all() == []


def test_an_endless_loop_ends_the_simulation() -> None:
    async def scenario(_: Simulation) -> None:
        while True:  # noqa: ASYNC110 (it is the point)
            await asyncio.sleep(0)

    with pytest.raises(SimulationLivelock, match="1000 steps"):
        Simulation(max_steps=1000).run(scenario)


def test_actors_that_a_scenario_leaves_are_stopped() -> None:
    diary: list[Any] = []

    class Ending(Echo):
        def on_stop(self) -> None:
            diary.append(self.actor_inbox.actor_name.partition(" ")[0])

    def scenario(_: Simulation) -> None:
        Ending.start()
        Ending.start()

    Simulation().run(scenario)

    assert diary == ["Ending", "Ending"]
    assert pykka.ActorRegistry.get_all() == []


def test_callbacks_of_an_ended_actor_are_dropped() -> None:
    class Restless(Echo):
        def on_start(self) -> None:
            self.continue_later()

        def continue_later(self) -> None:
            asyncio.get_running_loop().call_soon(self.continue_later)

    def scenario(_: Simulation) -> bool:
        restless = Restless.start()
        restless.stop()
        return restless.is_alive()

    assert not Simulation().run(scenario)


def test_preemption_lets_other_fibers_run_between_two_puts() -> None:
    def scenario(sim: Simulation) -> None:
        relay = Relay.start()

        def pair(name: str) -> None:
            relay.tell((name, 1))
            relay.tell((name, 2))

        for client in [sim.client(pair, name) for name in "ab"]:
            client.result()
        names = "".join(name for name, _ in relay.ask(("end", 0)))
        assert "abab" not in names

    explore(scenario, RandomSchedules(1), runs=100)
    with pytest.raises(AssertionError, match="abab"):
        explore(scenario, RandomSchedules(1), runs=500, preempt=True)


def test_one_simulation_runs_once() -> None:
    simulation = Simulation()
    simulation.run(lambda _: None)

    with pytest.raises(RuntimeError, match="once"):
        simulation.run(lambda _: None)


def test_values_are_drawn_and_the_first_is_the_undisturbed_one() -> None:
    assert Simulation().run(lambda sim: sim.choose("a", "b", "c")) == "a"
    assert Simulation(ReplayChoices([2])).run(lambda sim: sim.choose("a", "b", "c")) == "c"


def test_turns_end_in_order_while_queries_pass_by() -> None:
    diary: list[tuple[str, str]] = []

    async def scenario(_: Simulation) -> None:
        worker = Worker.start(diary)
        works = [worker.ask(Work(name, seconds=1), block=False) for name in "ab"]
        await asyncio.sleep(0.5)
        await worker.ask("q", block=False)
        for work in works:
            await work

    Simulation().run(scenario)

    assert diary == [
        ("begin", "a"), ("query", "q"), ("end", "a"), ("begin", "b"), ("end", "b"),
    ]  # fmt: skip
