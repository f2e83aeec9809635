"""Compiles modules once, before pytest-xdist starts workers, each of which would do it."""

from __future__ import annotations

import compileall
import contextlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import agy_actors

if TYPE_CHECKING:
    import pytest

__all__ = ["compile_all"]

_TESTS = Path(__file__).parent
_CACHE_KEY = "agy_actors/compiled_tests"


def compile_all(config: pytest.Config) -> None:
    """Compile agy_actors, and the tests if all of them are to run.

    pytest compiles a test module, with its assertions rewritten, when the module is imported. The
    modules are imported in forked processes, one for each processor, which then end.
    """
    compileall.compile_dir(Path(agy_actors.__file__).parent, quiet=2)
    if config.args_source is config.ArgsSource.TESTPATHS and config.getoption("numprocesses", 0):
        _compile_tests(config)


def _compile_tests(config: pytest.Config) -> None:
    files = sorted(_TESTS.rglob("test_*.py"), key=lambda file: file.stat().st_size)
    state = {str(file): file.stat().st_mtime_ns for file in files}
    if config.cache is None or config.cache.get(_CACHE_KEY, None) == state:
        return
    names = [".".join(file.relative_to(_TESTS.parent).with_suffix("").parts) for file in files]
    processors = len(os.sched_getaffinity(0))
    children = []
    for number in range(processors):
        child = os.fork()
        if not child:
            _import_and_exit(names[number::processors])
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    config.cache.set(_CACHE_KEY, state)


def _import_and_exit(names: list[str]) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        for name in names:
            with contextlib.suppress(BaseException):  # The workers will report it.
                importlib.import_module(name)
    finally:
        os._exit(0)
