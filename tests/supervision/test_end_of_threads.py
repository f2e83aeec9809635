"""The end of programs whose threads wait for agents."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from tests.slow import quick
from tests.supervision.test_exit import PATIENCE, Run, hold_up, run

if TYPE_CHECKING:
    from agy_actors.testing import ScriptedModel

__all__ = ["run"]  # The fixture.


def test_the_hook_that_ends_agents_before_threads_are_waited_for_is_there() -> None:
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]


THREADS = {
    "ask": "agent.ask(Chat('hi'))",
    "get": "agent.ask(Chat('hi'), block=False).get()",
    "stream": "list(agent.stream('hi'))",
    "events": "list(agent.stream('hi').events())",
    "result": "agent.stream('hi').result()",
    "await": "asyncio.run(wait_for(agent.ask(Chat('hi'), block=False)))",
    "WaitForIdle": "[agent.tell(Chat('hi')), agent.ask(WaitForIdle())]",
    "ask of a pool": "pool.ask(Chat('hi'))",
    "map": "list(pool.map(['hi']))",
    "as_completed": "[future.get() for future in pool.as_completed(['hi'])]",
    "in an actor": "Asker.start().ask('hi')",
}


@pytest.mark.parametrize("use", quick(THREADS, 0, 2, 5, 7, 10))
def test_the_end_does_not_wait_for_a_thread_that_waits_for_an_agent(
    run: Run, model: ScriptedModel, use: str
) -> None:
    hold_up(model)
    program = run(f"""
        import asyncio

        class Asker(AsyncioActor):
            def on_receive(self, _):
                self.stop()
                return agent.ask(Chat("hi"))

        async def wait_for(future):
            return await future

        def work():
            try:
                {THREADS[use]}
            except AgentDeadError:
                print("AgentDeadError")

        supervisor = Supervisor.start()
        agent = create(supervisor)
        pool = supervisor.create_pool(openai_config(sys.argv[1], {{}}), 1)
        threading.Thread(target=work).start()
        sys.stdin.read()
        wait_for_signal()
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    assert program._popen.stdout is not None
    assert program._popen.stdout.readline() == "ready\n"
    program.note_harnesses()
    program.send(signal.SIGUSR1)

    assert program.end() == (0, "AgentDeadError\n", "")
    assert program.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_program_whose_workers_wait_for_agents(
    run: Run, model: ScriptedModel, number: signal.Signals
) -> None:
    hold_up(model)
    program = run("""
        from concurrent.futures import ThreadPoolExecutor

        def work():
            try:
                agent.ask(Chat("hi"))
            except AgentDeadError:
                print("AgentDeadError")

        agent = create(Supervisor.start())
        ThreadPoolExecutor().submit(work)
        threading.Event().wait()
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    program.note_harnesses()

    program.send(number)

    code, out, _ = program.end()
    assert (code != 0, out) == (True, "AgentDeadError\n")
    assert program.leftovers() == []


def test_agents_end_with_the_main_thread_and_no_more_are_started(
    run: Run, model: ScriptedModel
) -> None:
    program = run("""
        supervisor = Supervisor.start()
        agent = create(supervisor)
        ending = threading.main_thread()

        def work():
            ending.join()
            for use in (
                lambda: agent.ask(Chat("hi")),
                lambda: create(supervisor),
                Supervisor.start,
            ):
                try:
                    use()
                except AgentDeadError:
                    print("AgentDeadError")
            print(watch(agent).get().reason)

        threading.Thread(target=work).start()
    """)

    assert program.end() == (0, "AgentDeadError\n" * 3 + "DeathReason.STOPPED\n", "")
    assert program.leftovers() == []
    assert not model.requests


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_multiprocessing_ends_its_own_agents(
    run: Run, model: ScriptedModel, method: str
) -> None:
    program = run(f"""
        import multiprocessing, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # Of forks of programs with threads.

        def work():
            print(create(Supervisor.start()).ask(Chat("child")).text, flush=True)

        if __name__ == "__main__":
            agent = create(Supervisor.start())
            process = multiprocessing.get_context("{method}").Process(target=work)
            process.start()
            process.join()
            print(process.exitcode, agent.ask(Chat("parent")).text)
    """)

    assert program.end() == (0, "echo: child\n0 echo: parent\n", "")
    assert program.leftovers() == []


def test_the_end_does_not_wait_for_a_simulation_that_was_broken_off(
    run: Run, model: ScriptedModel
) -> None:
    program = run("""
        from agy_actors.testing import SimulatedAgent, Simulation

        def scenario(simulation):
            agent = Supervisor.start().create_agent(SimulatedAgent())

            def wait():
                simulation.sleep(1)
                os.kill(os.getpid(), signal.SIGTERM)
                while True:  # The main thread waits elsewhere, and gets the signal.
                    simulation.sleep(1)

            simulation.client(wait).result()

        with Supervisor.start():
            Simulation().run(scenario)
    """)

    code, _, _ = program.end()  # Fails if it does not end.

    assert code != 0
