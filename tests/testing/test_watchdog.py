"""A test that hangs ends its process, and with it not the whole run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest_plugins = ["pytester"]


def test_a_finalizer_that_hangs_after_a_failure_ends_the_process(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini(
        f"[pytest]\ntimeout = 1\npythonpath = {ROOT}\naddopts = -p no:cacheprovider -p no:xdist\n"
    )
    pytester.makeconftest(
        """
        from tests.watchdog import Watchdog

        def pytest_configure(config):
            Watchdog.MORE_TIME = 0.1
            config.pluginmanager.register(Watchdog(config))
        """
    )
    pytester.makepyfile(
        """
        import threading
        import pytest

        @pytest.fixture
        def hangs():
            yield
            threading.Event().wait()

        def test_fails(hangs):
            assert not "an error"
        """
    )

    result = pytester.runpytest_subprocess(timeout=50)

    assert result.ret == 1
    result.stderr.fnmatch_lines(["Timeout (0:00:01.100000)!", "*.py*, line * in hangs"])
    result.stdout.no_fnmatch_line("*1 failed*")
