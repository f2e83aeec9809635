"""Programs leave nothing behind, however they end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest

import agy_actors
from agy_actors.testing import call_tool, say
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agy_actors.testing import ScriptedModel

PATIENCE = 30.0

PREAMBLE = """
import os, signal, sys, threading
from agy_actors import *
from agy_actors.testing.scripted_model.configs import openai_config

# Jobs in the background begin with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def create(supervisor, name=None, **settings):
    return supervisor.create_agent(openai_config(sys.argv[1], settings), name)

def wait_for_signal():
    # A handler in Python runs between two instructions: for a signal that comes just before a
    # wait, that is after the wait. The wake-up descriptor is written to when the signal comes.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    print("ready", flush=True)
    os.read(reader, 1)
"""


class Program:
    """A Python program on its own, with agents."""

    def __init__(
        self, folder: Path, model: ScriptedModel, code: str, start: type[subprocess.Popen[Any]]
    ) -> None:
        self.temporary = folder / "t"  # Short: sockets of multiprocessing are made there.
        self.temporary.mkdir()
        script = folder / "program.py"
        script.write_text(PREAMBLE + textwrap.dedent(code))
        self._popen = start(
            [sys.executable, "-W", "error", str(script), model.base_url],
            env={
                "TMPDIR": str(self.temporary),
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(Path(agy_actors.__file__).parents[1]),  # The tested copy.
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
        """Wait for its end, and return its exit code and its output."""
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
    def __call__(
        self, code: str, start: type[subprocess.Popen[Any]] = programs.Popen
    ) -> Program: ...


@pytest.fixture
def run(tmp_path: Path, model: ScriptedModel) -> Iterator[Run]:
    ran: list[Program] = []

    def run(code: str, start: type[subprocess.Popen[Any]] = programs.Popen) -> Program:
        ran.append(Program(tmp_path, model, code, start))
        return ran[-1]

    yield run

    for program in ran:
        program.close()


def hold_up(model: ScriptedModel) -> None:
    """Let every turn run for ever."""
    model.when(".", say("and so on", gate=threading.Event()))


@pytest.mark.parametrize(
    "start", [programs.Popen, subprocess.Popen], ids=["forked", "fresh interpreter"]
)
def test_your_program_ends(
    run: Run, model: ScriptedModel, start: type[subprocess.Popen[Any]]
) -> None:
    gate = threading.Event()
    model.then(say("one", gate=gate), say("two", gate=gate))
    program = run(
        """
        supervisor = Supervisor.start()
        for reply in [create(supervisor).ask(Chat("hi"), block=False) for _ in range(2)]:
            print(reply.get().text)
    """,
        start,
    )
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


def test_a_users_own_handler_of_sigterm_stays(run: Run, model: ScriptedModel) -> None:
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


def test_an_ignored_sigterm_stays_ignored(run: Run, model: ScriptedModel) -> None:
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


def test_sigterm_has_its_default_effect_when_no_supervisor_is_left(run: Run) -> None:
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
