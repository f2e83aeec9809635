"""The leaks that the fixtures of the plugin, and of this project's tests, find."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import psutil
import pytest

from agy_actors.testing import leak_check

ROOT = Path(__file__).parents[2]
CONFTEST = ROOT / "tests" / "conftest.py"

pytest_plugins = ["pytester"]


@pytest.fixture(params=["plugin", pytest.param("conftest", marks=pytest.mark.slow)])
def watched(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder for tests, each of which is checked by one or the other."""
    pytester.makeini(
        "[pytest]\naddopts = -p no:cacheprovider -p no:xdist\n"
        f"pythonpath = site-packages {ROOT}\n"  # The project's conftest has helpers there.
    )
    pytester.makeconftest(
        CONFTEST.read_text()
        if request.param == "conftest"
        else """
import pytest

@pytest.fixture(autouse=True)
def watched(nothing_of_agy_actors_left):
    pass
"""
    )
    # A package that counts as installed.
    packages = pytester.mkdir("site-packages")
    packages.joinpath("a_library.py").write_text(
        """
import threading

def start(daemon):
    thread = threading.Thread(target=serve, name="a library's", daemon=daemon)
    thread.start()

def serve():
    threading.Event().wait(9)
"""
    )
    return pytester


def test_a_test_that_leaks_fails(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        import multiprocessing, subprocess, threading, time
        import a_library
        import pykka
        import pytest
        from agy_actors import AsyncioActor, ReplyFuture
        from agy_actors.testing import leak_check

        leak_check.PATIENCE = 0.2
        kept = []

        class Lonely(AsyncioActor):
            pass

        class Careless(AsyncioActor):
            def on_start(self):
                handle = self._messages._handle
                self._messages._handle = lambda envelope: (
                    None if envelope.message == "hello" else handle(envelope)
                )

        class Lasting(AsyncioActor):
            use_daemon_thread = True

            def on_stop(self):
                time.sleep(9)

        class LastingOnPykka(pykka.ThreadingActor):
            use_daemon_thread = True

            def on_stop(self):
                time.sleep(9)

        def test_thread():
            threading.Thread(target=time.sleep, args=(9,), daemon=True, name="mine").start()

        def test_thread_in_a_library():
            threading.Thread(target=a_library.serve, daemon=True, name="in a library").start()

        def test_thread_that_keeps_the_program():
            a_library.start(daemon=False)

        def test_thread_of_an_actor_that_was_stopped():
            ref = Lasting.start()
            ref.stop(block=False)
            while ref.actor_urn in map(lambda ref: ref.actor_urn, pykka.ActorRegistry.get_all()):
                time.sleep(0.01)

        def test_thread_of_a_pykka_actor_that_was_stopped():
            LastingOnPykka.start().stop(block=False)

        def test_process():
            kept.append(subprocess.Popen(["sleep", "9"]))

        def test_worker_of_the_fork_server():
            context = multiprocessing.get_context("forkserver")
            kept.append(context.Process(target=time.sleep, args=(9,), daemon=True))
            kept[-1].start()

        def test_future_that_is_kept():
            kept.append(ReplyFuture())

        def test_future_that_is_dropped():
            ReplyFuture()

        def test_actor_that_drops_an_ask():
            ref = Careless.start()
            future = ref.ask("hello", block=False)
            del future
            ref.stop()

        def test_actor():
            Lonely.start()
        """
    )

    result = watched.runpytest_subprocess()

    result.assert_outcomes(passed=11, errors=11)
    result.stdout.fnmatch_lines_random(
        [
            "*thread 'mine' (daemon) still runs",
            "*thread 'in a library' (daemon) still runs",
            '*thread "a library\'s" still runs',
            "*thread 'Lasting* still runs",
            "*thread 'LastingOnPykka* still runs",
            "*process * (sleep) still runs",
            "*process * (python*) still runs",
            "*<ReplyFuture pending> was never answered",
            "*<ReplyFuture pending to str by Careless* was never answered",
            "*actor Lonely * was not stopped",
        ]
    )


def test_threads_and_processes_of_libraries_are_not_leaks(watched: pytest.Pytester) -> None:
    watched.makepyfile(
        """
        import _thread, multiprocessing, threading
        import a_library
        import pytest
        from agy_actors.testing import leak_check

        leak_check.PATIENCE = 0.2
        kept = []

        @pytest.mark.parametrize("method", ["spawn", "forkserver"])
        def test_helpers_of_multiprocessing(method):
            process = multiprocessing.get_context(method).Process(target=print)
            process.start()
            process.join()
            process.close()

        def test_feeder_of_a_queue():
            kept.append(multiprocessing.Queue())
            kept[-1].put("something")

        def test_daemon_thread_of_a_library():
            a_library.start(daemon=True)

        def test_thread_that_threading_did_not_start():
            seen = threading.Event()

            def serve():
                threading.current_thread()
                seen.set()
                threading.Event().wait(9)

            _thread.start_new_thread(serve, ())
            assert seen.wait(9)
            assert any(isinstance(t, threading._DummyThread) for t in threading.enumerate())
        """
    )

    result = watched.runpytest_subprocess("-W", "error")

    result.assert_outcomes(passed=5)


@pytest.mark.parametrize("listed", [True, False], ids=["listed by Linux", "found by psutil"])
def test_descendants_are_found_also_when_the_thread_that_started_them_has_ended(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leak_check._LISTS_CHILDREN
    monkeypatch.setattr(leak_check, "_LISTS_CHILDREN", listed)
    command = ["sh", "-c", "tail -f /dev/null & echo $!; wait"]
    started: list[subprocess.Popen[str]] = []

    def start() -> None:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    [program] = started
    with program:
        assert program.stdout is not None
        grandchild = int(program.stdout.readline())

        found = {process.pid for process in leak_check._descendants(psutil.Process())}

        psutil.Process(grandchild).kill()
        program.kill()
    assert {program.pid, grandchild} <= found
