"""Programs that end in every way, and what is left of them: nothing."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil
import pytest

import agy_actors
from agy_actors.testing import call_tool, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors.testing import ScriptedModel

PATIENCE = 30.0

PREAMBLE = """
import os, signal, sys, threading
from agy_actors import *
from agy_actors.testing._model_configs import openai_config

# Jobs in the background begin with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def create(supervisor, name=None, **settings):
    return supervisor.create_agent(openai_config(sys.argv[1], settings), name)

def wait_for_signal():
    # No Event: set() in a handler waits for ever if it interrupts wait() before that sleeps.
    reader, writer = os.pipe()
    signal.signal(signal.SIGUSR1, lambda *_: os.write(writer, b"x"))
    print("ready", flush=True)
    os.read(reader, 1)
"""


class Program:
    """A Python program on its own, with agents."""

    def __init__(self, folder: Path, model: ScriptedModel, code: str) -> None:
        self.temporary = folder / "t"  # Short: sockets of multiprocessing are made there.
        self.temporary.mkdir()
        script = folder / "program.py"
        script.write_text(PREAMBLE + textwrap.dedent(code))
        self._popen = subprocess.Popen(
            [sys.executable, "-W", "error", str(script), model.base_url],
            env={
                "TMPDIR": str(self.temporary),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(Path(agy_actors.__file__).parents[1]),  # The copy that is tested.
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.process = psutil.Process(self._popen.pid)
        self.harnesses: list[psutil.Process] = []

    def note_harnesses(self) -> list[psutil.Process]:
        self.harnesses = self.process.children(recursive=True)
        return self.harnesses

    def send(self, signal_number: int) -> None:
        self.process.send_signal(signal_number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end, and return its exit code and what it said."""
        out, err = self._popen.communicate(timeout=PATIENCE)
        return self._popen.returncode, out, err

    def leftovers(self) -> list[object]:
        """Return the processes and the folders that are left."""
        _, alive = psutil.wait_procs(self.harnesses, timeout=PATIENCE)
        return [*alive, *self.temporary.glob("agy_actors_*")]

    def close(self) -> None:
        for process in (*self.harnesses, self.process):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._popen.communicate()


class Run(Protocol):
    def __call__(self, code: str) -> Program: ...


@pytest.fixture
def run(tmp_path: Path, model: ScriptedModel) -> Iterator[Run]:
    programs: list[Program] = []

    def run(code: str) -> Program:
        programs.append(Program(tmp_path, model, code))
        return programs[-1]

    yield run

    for program in programs:
        program.close()


def hold_up(model: ScriptedModel) -> None:
    """Have every turn go on for ever."""
    model.when(".", say("and so on", gate=threading.Event()))


def test_your_program_ends(run: Run, model: ScriptedModel) -> None:
    gate = threading.Event()
    model.then(say("one", gate=gate), say("two", gate=gate))
    program = run("""
        supervisor = Supervisor.start()
        for reply in [create(supervisor).ask(Chat("hi"), block=False) for _ in range(2)]:
            print(reply.get().text)
    """)
    model.wait_for_requests(2, timeout=PATIENCE)
    assert program.note_harnesses()
    gate.set()

    code, out, err = program.end()

    assert (code, sorted(out.split()), err) == (0, ["one", "two"], "")
    assert program.leftovers() == []


def test_a_program_may_end_in_the_middle_of_turns(run: Run, model: ScriptedModel) -> None:
    hold_up(model)
    program = run("""
        supervisors = [Supervisor.start() for _ in range(2)]
        for supervisor in supervisors:
            create(supervisor).ask(Chat("hi"), block=False)
        sys.stdin.read()
        wait_for_signal()
        sys.exit(3)
    """)
    model.wait_for_requests(2, timeout=PATIENCE)
    assert program._popen.stdout is not None
    assert program._popen.stdout.readline() == "ready\n"
    program.note_harnesses()
    program.send(signal.SIGUSR1)

    code, _, err = program.end()

    assert (code, err) == (3, "")
    assert program.leftovers() == []


def test_a_tool_that_never_returns_does_not_keep_the_program_from_ending(
    run: Run, model: ScriptedModel
) -> None:
    model.when("hi", call_tool("sleep_for_ever"))
    program = run("""
        called = threading.Event()

        def sleep_for_ever() -> str:
            called.set()
            threading.Event().wait()

        with Supervisor.start() as supervisor:
            create(supervisor, tools=[sleep_for_ever]).ask(Chat("hi"), block=False)
            called.wait()
    """)

    assert program.end()[:2] == (0, "")
    assert program.leftovers() == []


def test_an_exception_ends_the_program_as_ever(run: Run, model: ScriptedModel) -> None:
    hold_up(model)
    program = run("""
        supervisor = Supervisor.start()
        reply = create(supervisor).ask(Chat("hi"), block=False)
        try:
            reply.get(timeout=2)
        except AskTimeout:
            raise ZeroDivisionError("my own")
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    program.note_harnesses()

    code, _, err = program.end()

    assert code == 1
    assert err.rstrip().endswith("ZeroDivisionError: my own")
    assert program.leftovers() == []


@pytest.mark.parametrize("block", ["", "with supervisor: "])
@pytest.mark.parametrize(
    ("number", "expected"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_your_program_gets_sigterm_or_sigint(
    run: Run, model: ScriptedModel, number: signal.Signals, expected: int, block: str
) -> None:
    hold_up(model)
    program = run(f"""
        supervisor = Supervisor.start()
        {block}create(supervisor).ask(Chat("hi"))
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    program.note_harnesses()

    program.send(number)

    code, _, err = program.end()
    assert code == expected
    assert "Exception ignored" not in err
    if number == signal.SIGTERM:
        assert err == ""
    assert program.leftovers() == []


def test_a_users_own_handler_of_sigterm_is_left_alone(run: Run, model: ScriptedModel) -> None:
    hold_up(model)
    program = run("""
        def mine(*_):
            print("mine", flush=True)
            sys.exit(7)

        signal.signal(signal.SIGTERM, mine)
        supervisor = Supervisor.start()
        create(supervisor).ask(Chat("hi"))
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    program.note_harnesses()

    program.send(signal.SIGTERM)

    assert program.end() == (7, "mine\n", "")
    assert program.leftovers() == []


def test_ignoring_sigterm_is_left_alone(run: Run, model: ScriptedModel) -> None:
    gate = threading.Event()
    model.then(say("reply", gate=gate))
    program = run("""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with Supervisor.start() as supervisor:
            print(create(supervisor).ask(Chat("hi")).text)
    """)
    model.wait_for_requests(1, timeout=PATIENCE)

    program.send(signal.SIGTERM)
    gate.set()

    assert program.end() == (0, "reply\n", "")


def test_sigterm_is_as_ever_when_no_supervisor_is_left(run: Run) -> None:
    program = run("""
        with Supervisor.start():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    """)

    assert program.end() == (-signal.SIGTERM, "", "")
    assert program.leftovers() == []


def test_a_supervisor_may_be_started_in_any_thread(run: Run, model: ScriptedModel) -> None:
    hold_up(model)
    program = run("""
        def work():
            create(Supervisor.start()).ask(Chat("hi"), block=False)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        wait_for_signal()
    """)
    model.wait_for_requests(1, timeout=PATIENCE)
    assert program._popen.stdout is not None
    assert program._popen.stdout.readline() == "ready\n"
    program.note_harnesses()
    program.send(signal.SIGUSR1)

    code, _, err = program.end()

    assert (code, err) == (0, "")
    assert program.leftovers() == []


def test_your_program_is_killed(run: Run, model: ScriptedModel) -> None:
    hold_up(model)
    program = run("""
        supervisor = Supervisor.start()
        replies = [create(supervisor).ask(Chat("hi"), block=False) for _ in range(2)]
        replies[0].get()
    """)
    model.wait_for_requests(2, timeout=PATIENCE)
    assert program.note_harnesses()

    program.send(signal.SIGKILL)

    program.end()
    _, alive = psutil.wait_procs(program.harnesses, timeout=PATIENCE)
    assert alive == []


@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_your_program_forks(run: Run, model: ScriptedModel, end: str) -> None:
    program = run(f"""
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)  # Of forks of programs with threads.

        with Supervisor.start() as supervisor:
            agent = create(supervisor)
            if (child := os.fork()) == 0:
                {end}
            else:
                os.waitpid(child, 0)
                print(agent.ask(Chat("hi")).text, agent.ask(GetStatistics()).restarts)
    """)

    assert program.end() == (0, "echo: hi 0\n", "")
    assert len(model.requests) == 1
    assert program.leftovers() == []
