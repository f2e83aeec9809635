"""Programs in forked processes behave as programs of fresh interpreters do."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import programs
from tests.harnesses import until

PATIENCE = 40.0
"""Seconds for a program. Arbitrary; only a failing test waits this long."""

CONVERSATION = """
import agy_actors
from agy_actors import Chat, Supervisor
from agy_actors.testing import ScriptedModel

if __name__ == "__main__":
    with ScriptedModel() as model, Supervisor.start() as supervisor:
        print(supervisor.create_agent(model.openai_config()).ask(Chat("hi")).text)
"""

SAME = {
    "streams": "import sys; print(input()); print('wrong', file=sys.stderr)",
    "no newline": "import sys; sys.stdout.write('out'); sys.stderr.write('err')",
    "exit code": "import sys; sys.exit(7)",
    "exit text": "import sys; sys.exit('that is wrong')",
    "error": "def work():\n    1 / 0\nwork()",
    "hard exit": "import os; os._exit(9)",
    "exit in a thread": "import sys, threading; threading.Thread(target=sys.exit).start()",
    "interrupt": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "raised signal": "import signal; signal.raise_signal(signal.SIGKILL)",
    "handlers": """
        import signal
        for number in sorted(signal.valid_signals()):
            try:
                print(number, signal.getsignal(number))
            except ValueError:
                pass
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1))
    """,
    "end": """
        import atexit, threading, time
        from concurrent.futures import ThreadPoolExecutor
        def work():
            main.join()
            print("thread", flush=True)
        main = threading.main_thread()
        print(main is threading.current_thread(), threading.active_count())
        atexit.register(print, "atexit", flush=True)
        threading.Thread(target=work).start()
        ThreadPoolExecutor().submit(time.sleep, 0.1).add_done_callback(print)
        raise SystemExit(4)
    """,
    "end of threads of multiprocessing": """
        import multiprocessing
        process = multiprocessing.get_context("fork").Process(target=print, args=("child",))
        process.start()
    """,
    "arguments": "import sys; print(sys.argv, sys.orig_argv[1:], sys.flags, sys.path)",
    "main": """
        import sys
        def work():
            pass
        print(sorted(globals()), __name__, sys.modules["__main__"].work is work)
    """,
    "descriptors": "import os; print(sorted(os.listdir('/proc/self/fd')))",
    "encodings": """
        import sys
        for stream in sys.stdin, sys.stdout, sys.stderr:
            print(stream.name, stream.mode, stream.encoding, stream.errors, stream.newlines,
                  stream.line_buffering, stream.write_through, type(stream.buffer))
        print(sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__)
    """,
    "filters": "import sys, warnings; print(*warnings.filters, sys.warnoptions)",
    "warning": "import warnings; warnings.warn('careful', DeprecationWarning)",
    "group": "import os; print(os.getpgrp(), os.getsid(0), os.umask(0))",
    "log": "import logging; logging.error('an error'); from loguru import logger; logger.info(1)",
}


def both(
    code: str, *, python: tuple[str, ...] = (), **options: Any
) -> list[subprocess.CompletedProcess[str]]:
    """Run a program in a forked process and in a fresh interpreter."""
    return [
        run(
            [sys.executable, *python, "-c", textwrap.dedent(code), "a", "-b"],
            input="typed\n",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )
        for run in (programs.run, subprocess.run)
    ]


@pytest.mark.parametrize("what", SAME)
def test_a_program_does_the_same_as_in_a_fresh_interpreter(what: str) -> None:
    forked, fresh = (_without_changing_parts(ran) for ran in both(SAME[what]))

    assert forked == fresh


def _without_changing_parts(ran: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Leave out addresses, times, and the server's part of a traceback."""
    out = re.sub(r"0x[0-9a-f]+", "", ran.stdout)
    err = re.sub(r"(?s)(Traceback.*?\n).*(File \"<string>\", line \d+, in )", r"\1  \2", ran.stderr)
    return ran.returncode, out, re.sub(r"\d\d:\d\d:\d\d\.\d+", "", err)


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii:replace"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONUNBUFFERED": "1"},
        {"PYTHONWARNINGS": "error"},
        {"PYTHONPATH": "/somewhere:/elsewhere"},
        {"PYTHONDONTWRITEBYTECODE": "1"},
        {"TMPDIR": "/dev/shm"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_program_follows_its_variables_and_options(variables: dict[str, str]) -> None:
    code = f"""
        import os, sys, tempfile
        print(sorted(os.environ), sys.path, sys.dont_write_bytecode, tempfile.gettempdir())
        {SAME["encodings"]}
        {SAME["filters"]}
    """
    env = {"PATH": "/usr/bin:/bin", **variables}

    forked, fresh = both(
        code, env=env, cwd="/", python=("-W", "error", "-W", "ignore::UserWarning")
    )

    assert (forked.stdout, forked.stderr) == (fresh.stdout, fresh.stderr)
    assert fresh.returncode == forked.returncode == 0


def test_what_the_interpreter_reads_before_its_start_is_refused() -> None:
    with pytest.raises(AssertionError, match="PYTHONHASHSEED needs a fresh interpreter"):
        programs.Popen([sys.executable, "-c", "pass"], env={"PYTHONHASHSEED": "17"})


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_standard_streams_may_be_closed(closed: tuple[int, ...], tmp_path: Path) -> None:
    code = "import sys; open('out', 'w').write(str((sys.stdin, sys.stdout, sys.stderr)))"

    ended = programs.run(
        [sys.executable, "-c", code], closed=closed, cwd=tmp_path, timeout=PATIENCE
    )

    streams = (tmp_path / "out").read_text()
    assert (ended.returncode, streams.count("None")) == (0, len(closed))


def test_a_module_and_a_script_run_as_main(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("text = 'found'\n")
    script = tmp_path / "program.py"
    script.write_text(
        "import other, sys\n"
        "print(__name__, __file__, __spec__ and __spec__.name, sys.argv, other.text)\n"
    )
    for arguments in (["-m", "program", "a"], [str(script), "a"], [script.name, "a"]):
        forked, fresh = (
            run(
                [sys.executable, *arguments],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                cwd=tmp_path,
                check=True,
            ).stdout
            for run in (programs.run, subprocess.run)
        )

        assert forked == fresh


@pytest.mark.parametrize("run", [programs.run, subprocess.run])
def test_a_program_with_an_agent_runs(run: Any) -> None:
    ended = run(
        [sys.executable, "-W", "error", "-c", CONVERSATION],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (ended.stdout, ended.stderr, ended.returncode) == ("echo: hi\n", "", 0)


def test_no_program_has_agy_actors_before_it_imports_it() -> None:
    code = "import sys; print([name for name in sys.modules if name.startswith(('agy', 'tests'))])"

    forked, fresh = both(code)

    assert forked.stdout == fresh.stdout == "[]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_is_sent_signals_and_waited_for(number: signal.Signals) -> None:
    with programs.Popen(
        [sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert int(program.stdout.readline()) == program.pid
        assert program.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.01)

        program.send_signal(number)

        assert program.wait(PATIENCE) == -number
        assert program.poll() == program.returncode == -number
        assert not psutil.pid_exists(program.pid)
        program.kill()  # Does nothing.


def test_a_timeout_kills_the_program() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        programs.run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=0.1)

    assert programs.left_running(PATIENCE) == []


def test_a_program_that_runs_on_is_reported() -> None:
    with programs.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        assert programs.left_running(0) == [f"program {program.pid} still runs"]
        program.kill()

    assert programs.left_running(0) == []


def test_a_terminal_belongs_to_its_program() -> None:
    master, slave = pty.openpty()
    code = """
import os, sys
print(sys.stdin.isatty(), os.getsid(0) == os.getpid(), os.tcgetpgrp(0) == os.getpid(), flush=True)
try:
    input("ready")
except KeyboardInterrupt:
    sys.exit(5)
"""
    with programs.Popen(
        [sys.executable, "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        terminal=True,
    ) as program:
        os.close(slave)
        shown = b""
        while b"ready" not in shown:
            shown += os.read(master, 1000)
        for _ in range(50):  # `input` misses an interrupt that arrives before it waits.
            os.write(master, b"\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(PATIENCE / 50)
                break
        program.kill()
    os.close(master)

    assert shown.startswith(b"True True True")
    assert program.returncode == 5


def test_a_program_holds_no_pipe_of_another() -> None:
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    first = programs.Popen([sys.executable, "-c", "input(); print('first')"], **options)
    second = programs.Popen([sys.executable, "-c", "input(); print('second')"], **options)

    # The output of the first has ended although the second runs.
    assert first.communicate(b"\n", timeout=PATIENCE) == (b"first\n", None)
    assert second.poll() is None
    assert second.communicate(b"\n", timeout=PATIENCE) == (b"second\n", None)


def test_programs_leave_no_descriptor_and_no_process() -> None:
    here = psutil.Process()
    programs.run([sys.executable, "-c", "pass"], timeout=PATIENCE)
    descriptors, children = here.num_fds(), here.children(recursive=True)
    shown = programs.run(
        [sys.executable, "-c", "import os; print(os.getppid())"], capture_output=True
    )
    server = psutil.Process(int(shown.stdout))
    until(lambda: not server.children())
    held = server.num_fds()

    for _ in range(5):
        programs.run([sys.executable, "-c", "pass"], capture_output=True, timeout=PATIENCE)

    assert (here.num_fds(), here.children(recursive=True)) == (descriptors, children)
    until(lambda: server.num_fds() <= held)
    assert (server.num_threads(), server.children()) == (1, [])


def test_the_server_ends_with_the_process_that_started_it() -> None:
    code = """
import sys
from tests import programs
from tests.harnesses import until
run = programs.run([sys.executable, "-c", "import os; print(os.getppid())"], capture_output=True)
print(int(run.stdout))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        cwd=Path(__file__).parents[1],
    )

    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(int(ended.stdout))
        assert server.status() == psutil.STATUS_ZOMBIE or server.wait(PATIENCE) is None
