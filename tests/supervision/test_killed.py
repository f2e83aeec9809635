"""Killed programs whose forked or started processes survive."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from agy_actors import Chat, Supervisor
from agy_actors._actors import forks
from agy_actors.testing import say
from agy_actors.testing.scripted_model.configs import openai_config
from tests.forked import in_child, start_child
from tests.harnesses import SOON, has_ended, pid_of, until
from tests.slow import quick
from tests.supervision.test_exit import PATIENCE, Program, Run, run

if TYPE_CHECKING:
    from agy_actors import SupervisorRef
    from agy_actors.testing import ScriptedModel

__all__ = ["run"]  # The fixture.

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

PROGRAM = """
    import multiprocessing, pty, subprocess, time, warnings
    from concurrent.futures import ProcessPoolExecutor

    warnings.simplefilter("ignore", DeprecationWarning)  # Of forks of programs with threads.

    def sleep():
        time.sleep(600)

    def fork():
        pid = os.fork()
        if pid == 0:
            sleep()
        return pid

    def fork_in_thread():
        pids = []
        thread = threading.Thread(target=lambda: pids.append(fork()))
        thread.start()
        thread.join()
        return pids[0]

    def fork_twice():
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, str(fork()).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return int(os.read(read, 20))

    def forkpty():
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # Its terminal goes with the program.
            os.write(1, b"ready")
            sleep()
        os.read(terminal, 5)
        return pid

    def multi(method):
        process = multiprocessing.get_context(method).Process(target=time.sleep, args=(600,))
        process.start()
        return process.pid

    def pool():
        context = multiprocessing.get_context("fork")
        global executor
        executor = ProcessPoolExecutor(1, context)
        return executor.submit(os.getpid).result()

    def execute(**options):
        return subprocess.Popen(["sleep", "600"], **options).pid

    def run(start, most, first):
        pids = [start()] if first else []
        supervisor = Supervisor.start(max_conversations_per_process=most)
        agents = [create(supervisor) for _ in range(2)]
        for agent in agents:
            agent.ask(Chat("hi"))
        replies = [agent.ask(Chat("wait"), block=False) for agent in agents]
        if not first:
            pids.append(start())
        print(*pids)
        print(*{agent.ask(GetStatistics()).harness_pid for agent in agents}, flush=True)
        threading.Event().wait()
"""

WAYS = {
    "os.fork": "fork",
    "os.fork in a thread": "fork_in_thread",
    "os.fork in a forked child": "fork_twice",
    "os.forkpty": "forkpty",
    "multiprocessing, fork": "lambda: multi('fork')",
    "multiprocessing, spawn": "lambda: multi('spawn')",
    "multiprocessing, forkserver": "lambda: multi('forkserver')",
    "ProcessPoolExecutor": "pool",
    "subprocess": "execute",
    "subprocess, close_fds=False": "lambda: execute(close_fds=False)",
}


def killed(program: Program) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Kill a program after its report, and return its children and its harnesses."""
    assert program._popen.stdout is not None
    children, harnesses = (
        [psutil.Process(int(pid)) for pid in program._popen.stdout.readline().split()]
        for _ in range(2)
    )
    program.harnesses = program.process.children(recursive=True) + children
    program.send(signal.SIGKILL)
    program.process.wait(PATIENCE)
    return children, harnesses


@pytest.mark.parametrize(
    ("way", "most"), quick([*((way, 16) for way in WAYS), ("os.fork", 1)], 0, 5, 6, 9, 10)
)
def test_no_harness_outlives_a_killed_program_with_any_started_processes(
    run: Run, model: ScriptedModel, way: str, most: int
) -> None:
    model.when("wait", say("never", gate=threading.Event()))
    program = run(f"{PROGRAM}\n    if __name__ == '__main__': run({WAYS[way]}, {most}, False)")

    children, harnesses = killed(program)

    assert len(harnesses) == (2 if most == 1 else 1)
    until(lambda: all(has_ended(harness) for harness in harnesses))
    assert not any(has_ended(child) for child in children)


def test_a_child_that_was_forked_before_changes_nothing(run: Run, model: ScriptedModel) -> None:
    model.when("wait", say("never", gate=threading.Event()))
    program = run(f"{PROGRAM}\n    if __name__ == '__main__': run(fork, 16, True)")

    children, harnesses = killed(program)

    until(lambda: all(has_ended(harness) for harness in harnesses))
    assert not any(has_ended(child) for child in children)


def test_children_that_are_forked_while_agents_start_keep_no_process_alive(
    run: Run, model: ScriptedModel
) -> None:
    program = run(f"""{PROGRAM}
    def fork_on():
        while not over.is_set():
            pids.append(fork())
            time.sleep(0.005)

    pids, over = [], threading.Event()
    supervisor = Supervisor.start(max_conversations_per_process=1)
    forking = threading.Thread(target=fork_on)
    forking.start()
    agents = [create(supervisor) for _ in range(4)]
    over.set()
    forking.join()
    print(*pids)
    print(*{{agent.ask(GetStatistics()).harness_pid for agent in agents}}, flush=True)
    threading.Event().wait()
    """)

    children, harnesses = killed(program)

    assert len(harnesses) == 4
    assert len(children) > 4
    until(lambda: all(has_ended(harness) for harness in harnesses))


def test_an_agent_ends_within_its_time_while_a_forked_child_lives(
    model: ScriptedModel, supervisor: SupervisorRef
) -> None:
    with Supervisor.start(max_conversations_per_process=1) as own:
        agents = [
            parent.create_agent(openai_config(model.base_url, {})) for parent in (supervisor, own)
        ]
        child = start_child(threading.Event().wait)
        try:
            started = time.monotonic()
            for agent in agents:
                agent.stop()
            seconds = time.monotonic() - started
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    assert seconds < SOON


@pytest.mark.parametrize("most", [1, 16], ids=["own processes", "shared"])
def test_a_forked_child_has_no_end_of_a_pipe_or_a_connection_to_a_harness(
    model: ScriptedModel, most: int
) -> None:
    with Supervisor.start(max_conversations_per_process=most) as supervisor:
        agents = [supervisor.create_agent(openai_config(model.base_url, {})) for _ in range(3)]
        ours = set().union(*(_pipes_and_connections(pid_of(agent)) for agent in agents))

        inherited = in_child(_open_here)

        assert len(ours) == (12 if most == 1 else 6)
        assert ours <= _open_here()
        assert not ours & inherited
        assert [agent.ask(Chat("hi")).text for agent in agents] == ["echo: hi"] * 3


def test_descriptors_that_were_closed_are_not_touched_when_their_numbers_are_used_again() -> None:
    read, write = os.pipe()
    own = forks.OwnDescriptor(read)
    os.close(read)
    os.close(write)
    pairs = [os.pipe() for _ in range(2)]
    assert read in {number for pair in pairs for number in pair}

    def use() -> bytes:
        for _, end in pairs:
            os.write(end, b"mine")
        return b"".join(os.read(end, 10) for end, _ in pairs)

    try:
        assert in_child(use) == b"minemine"
    finally:
        for pair in pairs:
            for number in pair:
                os.close(number)
    assert own is not None


def test_a_child_prints_no_warning_about_its_parents_processes(run: Run) -> None:
    program = run("""
        import gc, warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # Of forks of programs with threads.
        supervisors = [Supervisor.start(max_conversations_per_process=n) for n in (1, 16)]
        agents = [create(supervisor) for supervisor in supervisors]
        if (child := os.fork()) == 0:
            del supervisors, agents
            gc.collect()
            sys.exit(0)
        print(os.waitpid(child, 0)[1], [agent.ask(Chat("hi")).text for agent in agents])
    """)

    assert program.end() == (0, "0 ['echo: hi', 'echo: hi']\n", "")
    assert program.leftovers() == []


def _open_here() -> set[str]:
    opened = set()
    for number in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # The descriptor of the list itself.
            opened.add(str(number.readlink()))
    return opened


def _pipes_and_connections(pid: int) -> set[str]:
    """Return our ends of the connections between this process and a harness."""
    standard = {str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)}
    here = psutil.Process()
    ports = {c.laddr.port for c in psutil.Process(pid).net_connections() if c.status == "LISTEN"}
    sockets = {
        str(Path(f"/proc/self/fd/{c.fd}").readlink())
        for c in here.net_connections()
        if c.raddr and c.raddr.port in ports
    }
    return standard | sockets
